package cpu

import (
	"testing"
	"testing/fstest"
)

// A process may use what the host has and each of its control groups allows,
// from its own up to the root. What files left in memory gives way.
func TestMemory(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		about            string
		files            map[string]string // beside the host's 1000 MiB, of which 600 are available
		total, available int64             // MiB
	}{
		{"no groups", nil, 1000, 600},
		{"no limit", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 1000, 600},
		{"a container", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "524288000\n", "sys/fs/cgroup/memory.current": "104857600\n",
		}, 500, 400},
		{"a service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/troupe.service\n", "sys/fs/cgroup/system.slice/troupe.service/memory.max": "524288000\n",
			"sys/fs/cgroup/system.slice/troupe.service/memory.current": "104857600\n", "sys/fs/cgroup/system.slice/memory.max": "max\n",
		}, 500, 400},
		{"its slice has less", map[string]string{
			"proc/self/cgroup": "0::/s/t\n", "sys/fs/cgroup/s/t/memory.max": "524288000\n", "sys/fs/cgroup/s/t/memory.current": "0\n",
			"sys/fs/cgroup/s/memory.max": "314572800\n", "sys/fs/cgroup/s/memory.current": "104857600\n",
		}, 300, 200},
		{"files in memory", map[string]string{
			"sys/fs/cgroup/memory.max": "524288000\n", "sys/fs/cgroup/memory.current": "419430400\n",
			"sys/fs/cgroup/memory.stat": "anon 104857600\nfile 314572800\ninactive_file 209715200\n",
		}, 500, 300},
		{"a group out of sight", map[string]string{
			"proc/self/cgroup": "0::/docker/1f\n", "sys/fs/cgroup/memory.max": "524288000\n", "sys/fs/cgroup/memory.current": "524288000\n",
		}, 500, 0},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:hugetlb,memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":      "524288000\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes":      "209715200\n",
			"sys/fs/cgroup/memory/a/memory.stat":                "cache 5\ntotal_inactive_file 104857600\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":        "9223372036854771712\n",
			"sys/fs/cgroup/memory/a/memory.soft_limit_in_bytes": "1\n",
		}, 500, 400},
	} {
		root := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:     1024000 kB\nMemFree:  1 kB\nMemAvailable:  614400 kB\n")}}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if total, available := memoryOf(root); total != c.total*mib || available != c.available*mib {
			t.Errorf("%s: %d MiB, %d available; want %d, %d", c.about, total/mib, available/mib, c.total, c.available)
		}
	}
	if total, available := memoryOf(fstest.MapFS{}); total <= 0 || available <= 0 {
		t.Errorf("without files of the kernel's: %d, %d available", total, available)
	}
}
