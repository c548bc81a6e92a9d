"""The performance bank: what every trial, on any task, has scored and cost."""
