package cpu

import "syscall"

// permitTiles asks Linux to save tiles for this process's threads.
func permitTiles() bool {
	const (
		archPrctl        = syscall.SYS_ARCH_PRCTL
		requestComponent = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData         = 18     // XFEATURE_XTILEDATA
	)
	_, _, err := syscall.RawSyscall(archPrctl, requestComponent, tileData, 0)
	return err == 0
}
