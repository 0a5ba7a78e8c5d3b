//go:build !parquet

package main

import (
	"strings"
	"testing"
)

func TestBenchWildchatWithoutParquet(t *testing.T) {
	status, _, errs := invoke(t, "", "bench", "wildchat", "--num-requests", "3")
	if status != 1 || !strings.Contains(errs, "build it with -tags parquet") {
		t.Errorf("status %d: %s", status, errs)
	}
}
