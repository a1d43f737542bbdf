package repository

// crashPoint is called between the steps of what must be safe to be killed at
// any time. Tests replace it.
var crashPoint = func(step string) {}
