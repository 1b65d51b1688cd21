"""Label Studio's HTTP interface: the connection, its answers' shapes, tasks and predictions."""
