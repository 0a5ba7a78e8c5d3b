package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/http"
)

func sectionsOf(cfg *Config) []section {
	return append(cfg.engineSections(), section{"", &cfg.Server}, section{"", &cfg.Access}, section{"", &cfg.Sampling}, section{"", &cfg.Log})
}

// Giving every flag its default changes nothing and is right.
func TestDefaultsPassTheirOwnChecks(t *testing.T) {
	cfg, want := defaultConfig(), defaultConfig()
	cmd := &cobra.Command{}
	found := bind(cmd, sectionsOf(cfg)...)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.DefValue == "" {
			return
		}
		if err := f.Value.Set(f.DefValue); err != nil {
			t.Errorf("--%s: %v", f.Name, err)
		}
	})
	cfg.check(found)
	if err := found.err(); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("configuration\n%+v, want\n%+v", cfg, want)
	}
}

func TestEveryFlagIsExplained(t *testing.T) {
	cmd := &cobra.Command{}
	bind(cmd, sectionsOf(defaultConfig())...)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Usage) < 10 {
			t.Errorf("--%s is explained by %q", f.Name, f.Usage)
		}
		if kind := f.Value.Type(); kind == "" {
			t.Errorf("--%s does not say what its value is", f.Name)
		}
	})
}

// What is set on the command line is what the actors get.
func TestFlagsReachTheActors(t *testing.T) {
	cfg := defaultConfig()
	cmd := &cobra.Command{}
	found := bind(cmd, sectionsOf(cfg)...)
	args := `--model m --device cuda:1 --dtype bfloat16 --dummy-weights --max-running-requests 3 --max-prefill-length 5
		--page-size 8 --num-pages 7 --memory-ratio 0.5 --max-seq-len 11 --cuda-graph-max-bs 17 --attention-backend portable --deterministic --cache naive --schedule prefill-first
		--policy priority --speculative ngram --overlap=false --max-open-requests 13 --drain-timeout 1m --temperature 0.5 --seed 9 --stop a --stop b`
	if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	if cfg.check(found); found.err() != nil {
		t.Fatal(found.err())
	}
	got := cfg.actors(cfg.Log.newLogger(t.Output()), nil)
	got.Log, got.Progress, got.Capturing = actors.Config{}.Log, nil, nil
	want := actors.Config{
		Model: "m", Device: "cuda:1", DP: 1, DType: "bfloat16", DummyWeights: true, MaxRunningRequests: 3, MaxPrefillLength: 5,
		PageSize: 8, NumPages: 7, MemoryRatio: 0.5, MaxSeqLen: 11, GraphRows: 17, Attention: "portable", Deterministic: true, Cache: plan.Naive, Schedule: plan.PrefillFirst,
		Policy: plan.Priority, NoOverlap: true, Speculative: actors.NGram, MaxOpenRequests: 13,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("actors get\n%+v, want\n%+v", got, want)
	}
	s := &cfg.Sampling
	if *s.Temperature != 0.5 || *s.Seed != 9 || s.TopP != nil || len(s.Stop) != 2 || cfg.Server.DrainTimeout != time.Minute {
		t.Errorf("sampling %+v, drain %v", s, cfg.Server.DrainTimeout)
	}
}

// And what the server gets.
func TestFlagsReachTheServer(t *testing.T) {
	cfg := defaultConfig()
	cmd := &cobra.Command{}
	found := bind(cmd, sectionsOf(cfg)...)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("ann: sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := `--served-model-name m --api-key k --allowed-origins https://o --profiling --tool-call-parser mistral --reasoning-parser none --max-open-requests 13 --max-body 1000
		--host me --allowed-hosts llm --api-key-file ` + keys + ` --key-requests 21 --key-open 22 --key-tokens 23 --address-requests 24 --address-open 25 --address-tokens 26
		--body-budget 1000000 --admin-listen 127.0.0.1:0 --max-connections 99 --max-choices 3 --max-stops 4 --strict-fields --read-timeout 1s --idle-timeout 2s --stall-timeout 3s --keep-alive 4s
		--root-path /llm --trusted-proxies 10.0.0.0/8 --trusted-proxies unix --queue-timeout 5s --request-timeout 6s --stream-timeout 7s`
	if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	if cfg.check(found); found.err() != nil {
		t.Fatal(found.err())
	}
	host, _ := os.Hostname()
	want := http.Config{
		Models: []string{"m"}, APIKeys: []string{"k"}, Origins: []string{"https://o"}, Version: thisBuild().Version, Profiling: true,
		ToolCallParser: "mistral", ReasoningParser: "none",
		APIKeyFile: keys, Hosts: []string{"llm", "me", host, host + ".local"}, Admin: true,
		KeyLimits: http.Limits{Requests: 21, Open: 22, Tokens: 23}, AddressLimits: http.Limits{Requests: 24, Open: 25, Tokens: 26},
		MaxBody: 1000, BodyBudget: 1000000, MaxConnections: 99, MaxOpen: 13, MaxChoices: 3, MaxStops: 4, StrictFields: true,
		ReadTimeout: time.Second, IdleTimeout: 2 * time.Second, StallTimeout: 3 * time.Second, KeepAlive: 4 * time.Second,
		RootPath: "/llm", Proxies: []string{"10.0.0.0/8", "unix"}, QueueTimeout: 5 * time.Second, RequestTimeout: 6 * time.Second, StreamTimeout: 7 * time.Second,
		Revision: thisBuild().Commit,
	}
	if got := cfg.http(); !reflect.DeepEqual(got, want) {
		t.Errorf("the server gets\n%+v, want\n%+v", got, want)
	}
	cfg.Server.MaxAnswers, cfg.Access.TLSCert, cfg.Access.AllowedHosts = 5, "cert", nil
	if got := cfg.http(); got.MaxOpen != 5 || !slices.Equal(got.Hosts, []string{"*"}) {
		t.Errorf("the server takes %d answers and is known as %v, want 5 and all", got.MaxOpen, got.Hosts)
	}
}

// What flags say of several models is each one's.
func TestFlagsOfSeveralModels(t *testing.T) {
	cfg := defaultConfig()
	cmd := &cobra.Command{}
	found := bind(cmd, append(sectionsOf(cfg), section{"", &cfg.Cluster})...)
	args := "--cluster c --cluster-listen 10.0.0.1:7 --cluster-secret 0123456789abcdef --front-only --model o/a --model o/b --model o/c --served-model-name o/b=x --served-model-name o/b=y=z --tool-call-parser hermes,o/a=none --reasoning-parser o/c=think"
	if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	if cfg.check(found); found.err() != nil {
		t.Fatal(found.err())
	}
	got, faults := cfg.ofModels()
	want := []http.Model{{ToolCallParser: "none"}, {Names: []string{"x", "y=z"}, ToolCallParser: "hermes"}, {ToolCallParser: "hermes", ReasoningParser: "think"}}
	if !reflect.DeepEqual(got, want) || faults != nil {
		t.Errorf("%+v, want %+v (%v)", got, want, faults)
	}
	if own := cfg.http(); own.Models != nil || own.ToolCallParser != "" {
		t.Errorf("the one model's are %q and %q", own.Models, own.ToolCallParser)
	}
}
