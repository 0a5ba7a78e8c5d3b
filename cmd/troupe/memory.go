package main

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// limitMemory has the garbage collector keep to nine tenths of what the control
// group may have: else it lets memory pile up to twice of what is in use,
// whatever there is, and the system ends the process. Who has set GOMEMLIMIT
// knows better. This is the one place where it is set.
func limitMemory(root fs.FS, log zerolog.Logger) {
	if set := debug.SetMemoryLimit(-1); set != math.MaxInt64 {
		log.Info().Int64("bytes", set).Msg("the garbage collector keeps to GOMEMLIMIT")
		return
	}
	group, ok := groupMemory(root)
	if !ok {
		return
	}
	most := group - group/10
	debug.SetMemoryLimit(most)
	log.Info().Int64("bytes", most).Int64("group_bytes", group).Msg("the garbage collector keeps to the control group's memory")
}

// groupMemory is what this process's control groups may have, in bytes: the
// least of its own and of those that this is in, of either version; false: as
// much as there is.
func groupMemory(root fs.FS) (least int64, ok bool) {
	least = math.MaxInt64
	text, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines("0::/\n0:memory:/\n" + string(text)) { // a container may see its own as the root
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		mount, file := "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		switch controllers := strings.Split(fields[1], ","); {
		case fields[1] == "":
			mount, file = "sys/fs/cgroup", "memory.max"
		case !slices.Contains(controllers, "memory"):
			continue
		}
		for dir := path.Join(mount, fields[2]); strings.HasPrefix(dir, mount); dir = path.Dir(dir) {
			limit, _ := fs.ReadFile(root, path.Join(dir, file))
			if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil && n > 0 { // "max" is none
				least = min(least, n)
			}
		}
	}
	return least, least < 1<<60 // version 1 writes a number for none
}
