package main

import (
	"bytes"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rs/zerolog"
)

// There are no more connections than files may be open; who asks for more is
// told so, who does not gets fewer.
func TestConnectionsWithinFiles(t *testing.T) {
	most, ok := room()
	if !ok {
		t.Skip("the system does not limit open files")
	}
	status, _, stderr := invoke(t, "", "serve", "--max-connections", strconv.Itoa(most+1))
	if want := fmt.Sprintf("--max-connections is %d, but this process may have files open for %d", most+1, most); status != 2 || !strings.Contains(stderr, want) {
		t.Errorf("status %d, %q, want 2 and %q", status, stderr, want)
	}
	for asked, want := range map[int]int{0: min(16384, most), 7: 7} {
		s := Server{MaxConnections: asked, MaxOpenRequests: 1}
		if got := s.connections(zerolog.Nop()); got != want {
			t.Errorf("who asks for %d gets %d connections, want %d", asked, got, want)
		}
	}
	var log bytes.Buffer
	s := Server{MaxOpenRequests: most}
	if got := s.connections(zerolog.New(&log)); got != most || !strings.Contains(log.String(), "ulimit") {
		t.Errorf("who wants twice as many gets %d, and the log has %q", got, log.String())
	}
}

// The collector keeps to the smallest group there is, of either version.
func TestMemoryOfControlGroups(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  int64 // 0: no limit
	}{
		{"none", nil, 0},
		{"version 2", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "3000\n"}, 3000},
		{"version 2, one above", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "2000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 2000},
		{"version 2, a container", map[string]string{"proc/self/cgroup": "0::/not/seen\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		{"version 1", map[string]string{"proc/self/cgroup": "4:cpu,memory:/x\n0::/\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4000\n"}, 4000},
		{"version 1, none", map[string]string{"proc/self/cgroup": "4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"another controller's", map[string]string{"proc/self/cgroup": "4:cpu:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4000\n"}, 0},
	} {
		root := fstest.MapFS{}
		for name, text := range tc.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got, ok := groupMemory(root); ok != (tc.want > 0) || ok && got != tc.want {
			t.Errorf("%s: %d, %v; want %d", tc.name, got, ok, tc.want)
		}
	}
}

func TestMemoryLimitIsSetAndSaid(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	root := fstest.MapFS{"sys/fs/cgroup/memory.max": &fstest.MapFile{Data: []byte("1000000000000\n")}}
	var log bytes.Buffer
	limitMemory(root, zerolog.New(&log))
	if got := debug.SetMemoryLimit(-1); got != 900000000000 || !strings.Contains(log.String(), `"bytes":900000000000`) {
		t.Errorf("the limit is %d, and the log has %s", got, log.String())
	}
	debug.SetMemoryLimit(5e11) // as GOMEMLIMIT does
	log.Reset()
	limitMemory(root, zerolog.New(&log))
	if got := debug.SetMemoryLimit(-1); got != 5e11 || !strings.Contains(log.String(), "GOMEMLIMIT") {
		t.Errorf("what the user set became %d, and the log has %s", got, log.String())
	}
}
