//go:build unix

package main

import "syscall"

// openFiles is how many files this process may have open, as far as it is
// limited; Go has raised that to the most there may be.
func openFiles() (int, bool) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0, false
	}
	return int(l.Cur), true
}
