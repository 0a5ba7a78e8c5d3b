package http

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// process is what the system says of this program.
type process struct {
	user, system time.Duration // of processors, outside of the kernel and in it
	resident     int64         // bytes
	files        int           // open
	mostFiles    uint64        // that may be
}

func processNow() (p process, ok bool) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return p, false
	}
	p.user, p.system = time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
	text, err := os.ReadFile("/proc/self/statm") // in pages: all, resident, …
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return p, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return p, false
	}
	p.resident = pages * int64(os.Getpagesize())
	files, err := os.ReadDir("/proc/self/fd")
	p.files = len(files)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return p, false
	}
	p.mostFiles = limit.Cur
	return p, err == nil
}
