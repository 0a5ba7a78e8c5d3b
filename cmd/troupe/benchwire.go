package main

import (
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/tokenize"
)

// wire are the flags of how requests are put to a server.
type wire struct {
	API       string        `flag:"api" choices:"completions,chat" help:"completions sends prompts as token ids; chat as texts of as many tokens, for servers that take no ids: it needs --tokenizer"`
	Tokenizer string        `flag:"tokenizer" value:"NAME|DIR|builtin" help:"the served model's name or directory, for its tokenizer"`
	Plain     bool          `flag:"plain" help:"send no fields but OpenAI's own, for servers that refuse others; stop tokens then end replies"`
	SLOTTFT   time.Duration `flag:"slo-ttft" value:"DURATION" min:"0" help:"a request counts as goodput when its first token came within this (0: always)"`
	SLOITL    time.Duration `flag:"slo-itl" value:"DURATION" min:"0" help:"and its tokens followed each other within this, on average (0: always)"`

	codec *tokenize.Tokenizer // what texts are made with; nil when token ids are sent
}

// check reports what no single flag can tell.
func (w *wire) check(found *faults) {
	if (w.API == "chat") != (w.Tokenizer != "") {
		found.add("--api chat and --tokenizer need each other: texts of so many tokens are made with the model's tokenizer")
	}
}

func (w *wire) slo() bench.SLO { return bench.SLO{TTFT: w.SLOTTFT, ITL: w.SLOITL} }

// open readies the client, and reads the tokenizer if requests are to be texts.
// A chat's template then takes a part of what the model takes.
func (w *wire) open(cmd *cobra.Command, c *bench.Client, served *bench.Served) (err error) {
	c.Plain = w.Plain
	if w.API != "chat" {
		return nil
	}
	if w.codec, _, err = openTokenizer(cmd, w.Tokenizer); err != nil || served.MaxLen == 0 || !w.codec.HasChatTemplate() {
		return err
	}
	rendered, err := w.codec.Render(chat("a"))
	served.MaxLen = max(1, served.MaxLen-len(w.codec.Encode(rendered, false)))
	return err
}

// prepare gives requests texts when they are to be sent as such.
func (w *wire) prepare(arrivals iter.Seq[bench.Arrival]) (iter.Seq[bench.Arrival], error) {
	if w.codec == nil {
		return arrivals, nil
	}
	all, err := bench.AsTexts(w.codec, arrivals)
	return slices.Values(all), err
}

// fitLengths narrows lengths that are the command's defaults to what the model
// takes; the note says how. Those that were asked for stay.
func fitLengths(cmd *cobra.Command, input, output *bench.Range, limit int) (note string, err error) {
	given := cmd.Flags().Changed
	d := bench.Drawn{Input: *input, Output: *output, InputFixed: given("input-len"), OutputFixed: given("output-len")}
	note, err = d.Fit(limit)
	*input, *output = d.Input, d.Output
	return note, err
}

// idsOf is how many token ids prompts are drawn from, when n were asked for.
func idsOf(n int, served bench.Served) int {
	switch {
	case n > 0:
		return n
	case served.Vocab > 0:
		return min(served.Vocab, bench.PromptIDs)
	}
	return bench.PromptIDs
}

// simpleOptions are the flags of bench simple.
type simpleOptions struct {
	BatchSize   int         `flag:"batch-size" value:"N" min:"1" help:"requests, all sent at once"`
	InputLen    bench.Range `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length"`
	OutputLen   bench.Range `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length"`
	Vocab       int         `flag:"vocab" value:"N" min:"0" help:"prompts are made of token ids below N (0: 10001, or as many as the server says the model has)"`
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
		Seed: 42, Warmup: 1,
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
	client, served, err := server.client(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := w.open(cmd, client, &served); err != nil {
		return err
	}
	o.Vocab = idsOf(o.Vocab, served)
	fitted, err := fitLengths(cmd, &o.InputLen, &o.OutputLen, served.MaxLen)
	if err != nil {
		return err
	}
	prompts := bench.RandomPrompts(o.Seed, o.BatchSize, o.InputLen, o.OutputLen, o.Vocab)
	arrivals, err := w.prepare(bench.AtOnce(prompts))
	if err != nil {
		return err
	}
	run := bench.Online{
		Client: client, Arrivals: arrivals, Total: bench.Total(arrivals), Temperature: o.Temperature, Seed: o.Seed,
		Warmup: o.Warmup, SLO: w.slo(), Progress: showRun(cmd.ErrOrStderr()), Environment: environment(cmd, cfg),
		Work: bench.Work{InputLen: o.InputLen.String(), OutputLen: o.OutputLen.String(), PromptIDs: o.Vocab, Fitted: fitted},
	}
	report, stopped := run.Run(ctx, "all at once")
	if report == nil {
		return stopped
	}
	report.Kind = "simple"
	return errors.Join(o.Report.tell(cmd.OutOrStdout(), report), stopped)
}
