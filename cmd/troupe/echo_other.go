//go:build !linux && !darwin

package main

import "os"

func withoutEcho(*os.File) (restore func()) { return func() {} }
