package main

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// wire are the flags of how requests are put to a server.
type wire struct {
	API       string        `flag:"api" choices:"completions,chat" help:"completions sends prompts as token ids; chat as texts of as many tokens, for servers that take no ids: it needs --tokenizer"`
	Tokenizer string        `flag:"tokenizer" value:"DIR|builtin" help:"directory of the served model, for its tokenizer"`
	SLOTTFT   time.Duration `flag:"slo-ttft" value:"DURATION" min:"0" help:"a request counts as goodput when its first token came within this (0: always)"`
	SLOITL    time.Duration `flag:"slo-itl" value:"DURATION" min:"0" help:"and its tokens followed each other within this, on average (0: always)"`
}

// check reports what no single flag can tell.
func (w *wire) check(found *faults) {
	if (w.API == "chat") != (w.Tokenizer != "") {
		found.add("--api chat and --tokenizer need each other: texts of so many tokens are made with the model's tokenizer")
	}
}

func (w *wire) slo() bench.SLO { return bench.SLO{TTFT: w.SLOTTFT, ITL: w.SLOITL} }

// prepare gives requests texts when they are to be sent as such.
func (w *wire) prepare(arrivals iter.Seq[bench.Arrival]) (iter.Seq[bench.Arrival], error) {
	if w.API != "chat" {
		return arrivals, nil
	}
	codec, err := openTokenizer(w.Tokenizer)
	if err != nil {
		return nil, err
	}
	all, err := bench.AsTexts(codec, arrivals)
	return slices.Values(all), err
}

func openTokenizer(name string) (*tokenize.Tokenizer, error) {
	m, err := model.Open(name, true)
	if err != nil {
		return nil, err
	}
	if m.Files == nil {
		return nil, fmt.Errorf("%s has no tokenizer.json", name)
	}
	return tokenize.Load(m.Files)
}

// simpleOptions are the flags of bench simple.
type simpleOptions struct {
	BatchSize   int         `flag:"batch-size" value:"N" min:"1" help:"requests, all sent at once"`
	InputLen    bench.Range `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length"`
	OutputLen   bench.Range `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length"`
	Vocab       int         `flag:"vocab" value:"N" min:"2" help:"prompts are made of token ids below N; lower it for a small vocabulary"`
	Seed        uint64      `flag:"seed" value:"N" help:"of prompts and lengths, as Python's random draws them"`
	Temperature float64     `flag:"temperature" value:"T" min:"0" max:"100" help:"0 always takes the likeliest token"`
	Warmup      int         `flag:"warm-up" value:"N" min:"0" help:"short requests that run before the measured ones"`

	Report reportOptions
}

func newBenchSimple() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	cfg.Remote.URL = "http://127.0.0.1:1919"
	o := &simpleOptions{
		BatchSize: 64, InputLen: bench.Range{Low: 1, High: 8192}, OutputLen: bench.Range{Low: 16, High: 1024},
		Vocab: 10001, Seed: 42, Warmup: 1,
	}
	w := &wire{API: "completions"}
	cmd := &cobra.Command{
		Use:   "simple [flags]",
		Short: "Measure one batch of requests over the wire",
		Long: `Simple sends one batch of requests at once to a server that is running, and waits for
all of them: 64 prompts of up to 8,192 tokens, with replies of 16 to 1,024.`,
		Example: `  troupe serve --model ~/models/Qwen3-14B &
  troupe bench simple --json out.json
  troupe bench simple --url http://gpu:1919 --api chat --tokenizer ~/models/Qwen3-14B`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Work", o}, section{"Report", &o.Report}, section{"Server", &cfg.Remote}, section{"Requests", w}, section{"Logs", &cfg.Log})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		w.check(found)
		if cfg.Remote.URL == "" {
			found.add("--url is empty; bench simple measures a server that is running")
		}
		if found.err() != nil {
			return found.err()
		}
		return benchSimple(cmd, cfg, o, w)
	}
	return cmd
}

func benchSimple(cmd *cobra.Command, cfg *Config, o *simpleOptions, w *wire) (err error) {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	server, err := openTarget(cmd, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	client, err := server.client(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	prompts := bench.RandomPrompts(o.Seed, o.BatchSize, o.InputLen, o.OutputLen, o.Vocab)
	arrivals, err := w.prepare(bench.AtOnce(prompts))
	if err != nil {
		return err
	}
	run := bench.Online{
		Client: client, Arrivals: arrivals, Total: bench.Total(arrivals), Temperature: o.Temperature, Seed: o.Seed,
		Warmup: o.Warmup, SLO: w.slo(), Progress: showRun(cmd.ErrOrStderr()), Environment: environment(cmd, cfg),
		Work: bench.Work{InputLen: o.InputLen.String(), OutputLen: o.OutputLen.String(), PromptIDs: o.Vocab},
	}
	report, err := run.Run(ctx, "all at once")
	if err != nil {
		return err
	}
	report.Kind = "simple"
	return o.Report.tell(cmd.OutOrStdout(), report)
}
