"""Where in a network to hold safety stock: every stage guarantees a service time to the next.

Graves & Willems (2000, doi:10.1287/msom.2.1.68.23267); Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition
(2019), sections 6.3.2 to 6.3.4. Demand is bounded by z standard deviations; what is beyond is somebody else's problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Network:
    """Stages and who supplies whom: a tree when directions are ignored.

    Attributes:
        arcs: Pairs (from, to) of stages, counted from 0; one fewer than stages.
        processing_time: Of each stage, shape (n,), whole periods.
        holding_cost: Per unit and period, shape (n,).
        inbound: Least time until supply from outside arrives, shape (n,), whole periods; 0 where it is at once.
        outbound: Longest time a stage may let its customers wait, shape (n,), periods; infinite where it is free.
        demand_deviation: Standard deviation of demand from outside per period, shape (n,), units.
        z: Standard deviations of demand over the net lead time that safety stock covers.
    """

    arcs: tuple[tuple[int, int], ...]
    processing_time: Times
    holding_cost: Array
    inbound: Times
    outbound: Array
    demand_deviation: Array
    z: float

    def __post_init__(self) -> None:
        stages = len(self.processing_time)
        reached = {0}
        for _ in self.arcs:
            reached |= {stage for arc in self.arcs if reached & set(arc) for stage in arc}
        if len(self.arcs) != stages - 1 or reached != set(range(stages)):
            raise ValueError(
                f"{stages} stages with {len(self.arcs)} arcs are not one tree: plan separate networks apart"
            )


@dataclass(frozen=True)
class ServicePolicy:
    """How long each stage lets its customers wait.

    Attributes:
        service_time: Outbound, shape (n,), periods.
        safety_stock: Shape (n,), units.
        cost: Of holding the safety stock per period.
    """

    service_time: Times
    safety_stock: Array
    cost: float


def guaranteed_service(network: Network) -> ServicePolicy:
    """The service times of least safety-stock cost: dynamic programming over the tree.

    A branch tells the stage it hangs on what it costs, for each time that stage may ask for (a supplier's branch) or
    offer (a customer's branch).
    """
    search = _Search(network)
    search.gather(0, None)
    table = search.table[0]
    wait, entry = np.unravel_index(int(table.argmin()), table.shape)
    search.settle(0, None, int(wait), int(entry))
    net = search.entry + network.processing_time - search.wait
    stock = network.z * _deviation(network) * np.sqrt(net)
    return ServicePolicy(search.wait, stock, float(network.holding_cost @ stock))


@dataclass
class _Search:
    """Costs of branches on the way to the root, chosen times on the way back."""

    network: Network
    table: dict[int, Array] = field(default_factory=dict)  # stage → cost of its branch by (outbound, inbound) time
    wait: Times = field(init=False)
    entry: Times = field(init=False)

    def __post_init__(self) -> None:
        stages = len(self.network.processing_time)
        self.wait, self.entry = np.zeros(stages, np.int64), np.zeros(stages, np.int64)
        self.suppliers = [[i for i, j in self.network.arcs if j == stage] for stage in range(stages)]
        self.customers = [[j for i, j in self.network.arcs if i == stage] for stage in range(stages)]
        self.local = _stage_costs(self.network)

    def gather(self, stage: int, parent: int | None) -> None:
        """Fill the table of a stage from those of its branches."""
        table = self.local[stage]
        for supplier in self.suppliers[stage]:
            if supplier != parent:
                self.gather(supplier, stage)
                table = table + np.minimum.accumulate(self.table[supplier].min(axis=1))[None, :]
        for customer in self.customers[stage]:
            if customer != parent:
                self.gather(customer, stage)
                table = table + np.minimum.accumulate(self.table[customer].min(axis=0)[::-1])[::-1][:, None]
        self.table[stage] = table

    def settle(self, stage: int, parent: int | None, wait: int, entry: int) -> None:
        """Keep the times of a stage and choose those of its branches that fit."""
        self.wait[stage], self.entry[stage] = wait, entry
        for supplier in self.suppliers[stage]:
            if supplier != parent:
                best = int(self.table[supplier].min(axis=1)[: entry + 1].argmin())
                self.settle(supplier, stage, best, int(self.table[supplier][best].argmin()))
        for customer in self.customers[stage]:
            if customer != parent:
                best = wait + int(self.table[customer].min(axis=0)[wait:].argmin())
                self.settle(customer, stage, int(self.table[customer][:, best].argmin()), best)


def _stage_costs(network: Network) -> Array:
    """Safety-stock cost of each stage alone by outbound and inbound time; infinite where a time is not allowed."""
    longest = int(network.processing_time.sum() + network.inbound.max())
    times = np.arange(longest + 1)
    wait, entry = times[None, :, None], times[None, None, :]
    net = entry + network.processing_time[:, None, None] - wait
    cost = (network.holding_cost * network.z * _deviation(network))[:, None, None] * np.sqrt(np.maximum(net, 0))
    allowed = (net >= 0) & (wait <= network.outbound[:, None, None]) & (entry >= network.inbound[:, None, None])
    return np.where(allowed, cost, np.inf)


def _deviation(network: Network) -> Array:
    """Standard deviation of all demand that passes through each stage, shape (n,), units; branches are independent."""
    own = network.demand_deviation**2
    passed = own
    for _ in network.arcs:  # the longest chain has no more arcs than the network
        following = own.copy()
        np.add.at(following, [i for i, _ in network.arcs], passed[[j for _, j in network.arcs]])
        passed = following
    return np.sqrt(passed)
