"""The API, one module a noun. Each has `routes(series)`: the shop's series columns are query parameters by name."""
