//go:build parquet

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/wildchat"
)

// shard is a shard of WildChat with n conversations to take, one of each
// reason not to between them.
func shard(t *testing.T, n int) string {
	t.Helper()
	type turn struct {
		Role     string `parquet:"role"`
		Content  string `parquet:"content"`
		Language string `parquet:"language"`
		Redacted bool   `parquet:"redacted"`
		Toxic    bool   `parquet:"toxic"`
	}
	type row struct {
		Conversation []turn `parquet:"conversation,list"`
	}
	var rows []row
	for i := range n {
		for _, first := range []turn{
			{Content: fmt.Sprintf("Tell me story number %d%s", i, strings.Repeat(" and more", i))},
			{Language: "French"},
			{Toxic: true},
			{Redacted: true},
		} {
			first.Role = "user"
			if first.Content == "" {
				first.Content = "x"
			}
			if first.Language == "" {
				first.Language = "English"
			}
			rows = append(rows, row{[]turn{first}})
		}
	}
	name := filepath.Join(t.TempDir(), "train-0.parquet")
	if err := parquet.WriteFile(name, rows); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestBenchWildchat(t *testing.T) {
	name := shard(t, 12)
	for _, how := range [][]string{nil, {"--concurrency", "3"}, {"--rate", "1000"}} {
		args := append([]string{"bench", "wildchat", "--shard", name, "--num-requests", "10", "--max-output", "5", "--ignore-eos", "--json", "-"}, how...)
		status, out, errs := invoke(t, "", args...)
		if status != 0 {
			t.Fatal(errs)
		}
		r := readReport(t, out)
		if want := (bench.Conversations{Read: 37, Taken: 10, Language: 9, Toxic: 9, Redacted: 9}); *r.Chosen != want {
			t.Errorf("%v: %+v, want %+v", how, *r.Chosen, want)
		}
		in, outs := r.Lengths.Input, r.Lengths.Output
		if r.Kind != "wildchat" || r.Requests != 10 || r.TotalOutputTokens != 50 || outs.Min != 5 || outs.P99 != 5 {
			t.Errorf("%v: %d requests, output %+v", how, r.Requests, outs)
		}
		if in.Count != 10 || in.Min < 4 || in.P50 <= in.Min || in.P90 <= in.P50 || in.Max < in.P99 || r.Work.Source != "allenai/WildChat-4.8M: train-0.parquet" {
			t.Errorf("%v: input %+v of %s", how, in, r.Work.Source)
		}
		if (r.Online == nil) != (how == nil) {
			t.Errorf("%v: online %+v", how, r.Online)
		}
	}
	status, out, errs := invoke(t, "", "bench", "wildchat", "--shard", name, "--num-requests", "3", "--max-output", "2")
	if status != 0 || !strings.Contains(out, "input length") || !strings.Contains(out, "9 read: 3 taken; 2 of another language, 2 toxic, 2 redacted") {
		t.Errorf("status %d:\n%s%s", status, out, errs)
	}
}

// Shards are downloaded as they are needed, resumed where the connection broke,
// and kept.
func TestBenchWildchatDownloads(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	files := map[string][]byte{}
	var listed []string
	for i := range 3 {
		data, err := os.ReadFile(shard(t, 4))
		if err != nil {
			t.Fatal(err)
		}
		files["/datasets/"+wildchat.Repo+"/resolve/"+commit+"/"+wildchat.Shard(i)] = data
		listed = append(listed, fmt.Sprintf(`{"rfilename": %q, "size": %d, "lfs": {"sha256": "%x", "size": %[2]d}}`, wildchat.Shard(i), len(data), sha256.Sum256(data)))
	}
	var ranges []string
	hub := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		data := files[r.URL.Path]
		if data == nil {
			fmt.Fprintf(w, `{"sha": %q, "siblings": [%s]}`, commit, strings.Join(listed, ","))
			return
		}
		if ranges = append(ranges, r.Header.Get("Range")); len(ranges) == 2 { // the second shard breaks off
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			w.(nethttp.Flusher).Flush()
			panic(nethttp.ErrAbortHandler)
		}
		nethttp.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer hub.Close()
	dir := t.TempDir()
	for range 2 {
		status, out, errs := invoke(t, "", "bench", "wildchat", "--endpoint", hub.URL, "--data-dir", dir, "--num-requests", "6", "--max-output", "1", "--json", "-")
		if status != 0 {
			t.Fatal(errs)
		}
		if r := readReport(t, out); r.Requests != 6 || r.Chosen.Read != 16+5 || !strings.HasSuffix(r.Work.Source, "train-00000-of-00086.parquet, train-00001-of-00086.parquet") {
			t.Errorf("%d requests of %+v from %s", r.Requests, r.Chosen, r.Work.Source)
		}
	}
	if len(ranges) != 3 || ranges[1] != "" || !strings.HasPrefix(ranges[2], "bytes=") {
		t.Errorf("asked for ranges %q, want the first shard, the second, and what was left of it", ranges)
	}
	listed[2] = strings.Replace(listed[2], `"sha256": "`, `"sha256": "00`, 1)
	status, _, errs := invoke(t, "", "bench", "wildchat", "--endpoint", hub.URL, "--data-dir", dir, "--num-requests", "9")
	if status != 1 || !strings.Contains(errs, "Give a copy with --shard FILE: it is data/train-00002-of-00086.parquet of "+hub.URL+"/datasets/allenai/WildChat-4.8M") {
		t.Errorf("status %d: %s", status, errs)
	}
}
