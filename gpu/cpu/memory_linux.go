package cpu

import (
	"bufio"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hugePages asks for pages of 2 MiB. Without them nothing is wrong but speed.
func hugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// memory is the host's memory in bytes, and what of it can be used without
// swapping: within the control groups' limits where there are some.
func memory() (total, available int64) { return memoryOf(os.DirFS("/")) }

func memoryOf(root fs.FS) (total, available int64) {
	total, available = value(root, "proc/meminfo", "MemTotal:")<<10, value(root, "proc/meminfo", "MemAvailable:")<<10
	if total == 0 { // no /proc
		var info unix.Sysinfo_t
		if unix.Sysinfo(&info) == nil {
			unit := int64(info.Unit)
			total, available = int64(info.Totalram)*unit, int64(info.Freeram+info.Bufferram)*unit
		}
	}
	for _, v := range cgroups {
		for dir := path.Join(v.mount, ownGroup(root, v.controller)); ; dir = path.Dir(dir) {
			if limit, ok := number(root, path.Join(dir, v.limit)); ok && limit < total {
				used, _ := number(root, path.Join(dir, v.used))
				used -= value(root, path.Join(dir, "memory.stat"), v.cache) // it gives way
				total, available = limit, min(available, max(limit-used, 0))
			}
			if len(dir) <= len(v.mount) {
				break
			}
		}
	}
	return total, available
}

// cgroups are the two versions of control groups: whose files about memory are
// where, and what in memory.stat are the pages of files not used lately, which
// count as used.
var cgroups = []struct{ controller, mount, limit, used, cache string }{
	{"", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
	{"memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
}

// ownGroup is this process's group. A container sees its own as the root, or
// is told of one that it cannot see; then only the mount's root is found.
func ownGroup(root fs.FS, controller string) string {
	data, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return fields[2]
		}
	}
	return "/"
}

// value is the number behind a name in a file of names and numbers, or 0.
func value(root fs.FS, file, name string) int64 {
	data, _ := fs.ReadFile(root, file)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

func number(root fs.FS, file string) (int64, bool) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no number
}

// processor is the name the processor gives itself.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, name, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(name)
		}
	}
	return ""
}
