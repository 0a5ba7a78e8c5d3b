package main

import (
	"os"
	"syscall"
)

// stopSignals ask the program to end.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}
