package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/wildchat"
	"github.com/troupe-llm/troupe/gpu/model/hub"
	"github.com/troupe-llm/troupe/tokenize"
)

// wildchatOptions are the flags of bench wildchat.
type wildchatOptions struct {
	Shard       []string `flag:"shard" value:"FILE" help:"read this parquet shard of the data set; may be repeated (default: from the first on, downloaded)"`
	NumRequests int      `flag:"num-requests" value:"N" min:"1" help:"take the first N messages that qualify"`
	MaxOutput   int      `flag:"max-output" value:"N" min:"1" help:"tokens of a reply at most"`
	IgnoreEOS   bool     `flag:"ignore-eos" help:"generate every token asked for, rather than let stop tokens end a reply"`
	Rate        float64  `flag:"rate" value:"R" min:"0" max:"1000000" help:"over the wire: R requests a second, at random (a Poisson process) (0: all at once)"`
	Concurrency int      `flag:"concurrency" value:"N" min:"0" help:"over the wire: keep N requests open, each next one sent as one ends (0: off)"`
	Seed        uint64   `flag:"seed" value:"N" help:"of what is drawn: replies, and times with --rate"`
	Temperature float64  `flag:"temperature" value:"T" min:"0" max:"100" help:"0 always takes the likeliest token"`
	Warmup      int      `flag:"warm-up" value:"N" min:"0" help:"short requests that run before the measured ones"`
	Plain       bool     `flag:"plain" help:"over the wire: send no fields but OpenAI's own, for servers that refuse others; stop tokens then end replies"`
	DataDir     string   `flag:"data-dir" value:"DIR" help:"where downloads go (default: data under the user's cache directory)"`
	Endpoint    string   `flag:"endpoint" value:"URL" help:"the hub to download from"`
	Token       string   `flag:"token" value:"TOKEN|@FILE" help:"access token for that hub; @FILE reads it from a file"`

	Report reportOptions
}

func newBenchWildchat() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	o := &wildchatOptions{NumRequests: 256, MaxOutput: 4096, Temperature: 0.6, Warmup: 1, Endpoint: hub.DefaultEndpoint}
	cmd := &cobra.Command{
		Use:   "wildchat [flags]",
		Short: "Measure with what people really asked: messages of the WildChat data set",
		Long: `Wildchat takes the first user message of each conversation of WildChat-4.8M, if it is in
English or Chinese and neither toxic nor redacted, and has the model reply to each. It
tells the lengths of prompts and replies. Without --url, --rate or --concurrency all are
sent at once to a model in this process; with one of them they go over the wire.`,
		Example: `  troupe bench wildchat --model ~/models/Qwen3-0.6B
  troupe bench wildchat --shard train-00000-of-00086.parquet --url http://gpu:1919 --rate 8`,
		Args: noArgs,
	}
	sections := append([]section{{"Work", o}, {"Report", &o.Report}, {"Server", &cfg.Remote}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		checkRemote(cmd, cfg, found)
		o.Token = readSecret("token", o.Token, found)
		if o.Rate > 0 && o.Concurrency > 0 {
			found.add("--rate and --concurrency are two ways to time requests: give one")
		}
		if found.err() != nil {
			return found.err()
		}
		if err := wildchat.Readable(); err != nil {
			return err
		}
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		if cfg.Remote.URL != "" || o.Rate > 0 || o.Concurrency > 0 {
			return o.online(ctx, cmd, cfg)
		}
		return o.offline(ctx, cmd, cfg)
	}
	return cmd
}

// texts are the messages to send, and what became of the others.
func (o *wildchatOptions) texts(ctx context.Context, cmd *cobra.Command, log *Log) (texts []string, chosen *bench.Conversations, source string, err error) {
	next, most := func(i int) (string, error) { return o.Shard[i], nil }, len(o.Shard)
	if most == 0 {
		next, most = func(i int) (string, error) { return o.download(ctx, cmd, log, wildchat.Shard(i)) }, wildchat.Shards
	}
	chosen = new(bench.Conversations)
	var names []string
	for i := 0; i < most && len(texts) < o.NumRequests; i++ {
		name, err := next(i)
		if err != nil {
			return nil, nil, "", err
		}
		if err := readShard(name, o.NumRequests, chosen, &texts); err != nil {
			return nil, nil, "", err
		}
		names = append(names, filepath.Base(name))
	}
	if len(texts) == 0 {
		return nil, nil, "", fmt.Errorf("none of %d conversations qualifies", chosen.Read)
	}
	return texts, chosen, strings.Join(names, ", "), nil
}

// readShard adds messages of a shard until there are n.
func readShard(name string, n int, chosen *bench.Conversations, texts *[]string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	for text, err := range wildchat.First(file, info.Size(), chosen) {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if *texts = append(*texts, text); len(*texts) == n {
			return nil
		}
	}
	return nil
}

// download has a shard of the data set in the data directory.
func (o *wildchatOptions) download(ctx context.Context, cmd *cobra.Command, log *Log, shard string) (string, error) {
	dir, err := dataDir(o.DataDir)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, filepath.Base(wildchat.Repo))
	name := filepath.Join(dir, filepath.FromSlash(shard))
	if _, err := os.Stat(name); err == nil {
		return name, nil // it was checked before it got that name
	}
	stderr := cmd.ErrOrStderr()
	_, err = hub.PullDataset(ctx, hub.Config{
		Repo: wildchat.Repo, Dir: dir, Endpoint: o.Endpoint, Token: o.Token,
		Progress: showProgress(stderr, log.newLogger(stderr), "fetching", true), Retrying: showRetries(log.newLogger(stderr)),
	}, []string{shard})
	if err != nil {
		return "", fmt.Errorf("%w\nGive a copy with --shard FILE: it is %s of %s", err, shard, strings.TrimRight(o.Endpoint, "/")+"/datasets/"+wildchat.Repo)
	}
	return name, nil
}

// chat is a text as the only message of a conversation.
func chat(text string) tokenize.Chat {
	return *tokenize.NewChat(tokenize.UserMessage(text))
}

// prompts are the texts as the model reads them; those that leave no room for
// a reply are left out.
func (o *wildchatOptions) prompts(system *actors.System, texts []string, chosen *bench.Conversations) ([]bench.Prompt, error) {
	codec, longest := system.Tokenizer(), system.Device().MaxSeqLen
	if codec == nil {
		return nil, errors.New("the model has no tokenizer: give --model a directory with one")
	}
	var all []bench.Prompt
	for _, text := range texts {
		var tokens []int32
		if codec.HasChatTemplate() {
			rendered, err := codec.Render(chat(text))
			if err != nil {
				return nil, err
			}
			tokens = codec.Encode(rendered, false)
		} else {
			tokens = codec.Encode(text, true)
		}
		if room := longest - len(tokens); room < 1 {
			chosen.Long++
		} else {
			all = append(all, bench.Prompt{Tokens: tokens, MaxTokens: min(o.MaxOutput, room)})
		}
	}
	if len(all) == 0 {
		return nil, fitsNone(len(texts), longest)
	}
	return all, nil
}

func (o *wildchatOptions) offline(ctx context.Context, cmd *cobra.Command, cfg *Config) (err error) {
	texts, chosen, source, err := o.texts(ctx, cmd, &cfg.Log)
	if err != nil {
		return err
	}
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return err
	}
	engine.MaxOpenRequests = max(engine.MaxOpenRequests, len(texts))
	engine.Trace = bench.NewGlimpse()
	system, err := actors.Open(engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	prompts, err := o.prompts(system, texts, chosen)
	if err != nil {
		return err
	}
	run := bench.Offline{
		Prompts: prompts, Seed: o.Seed, Temperature: o.Temperature, KeepEOS: !o.IgnoreEOS, Warmup: o.Warmup,
		Progress: showRun(cmd.ErrOrStderr()), Environment: environment(cmd, cfg),
	}
	report, err := run.Run(ctx, system)
	if err != nil {
		return err
	}
	return o.tell(cmd, report, chosen, source)
}

func (o *wildchatOptions) online(ctx context.Context, cmd *cobra.Command, cfg *Config) (err error) {
	texts, chosen, source, err := o.texts(ctx, cmd, &cfg.Log)
	if err != nil {
		return err
	}
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
	client.KeepEOS, client.Plain = !o.IgnoreEOS, o.Plain
	prompts, err := o.messages(ctx, client, served.MaxLen, texts, chosen)
	if err != nil {
		return err
	}
	rate, words := o.Rate, fmt.Sprintf("%g requests/s, Poisson", o.Rate)
	switch {
	case o.Concurrency > 0:
		rate, words = 1, fmt.Sprintf("%d open at a time", o.Concurrency)
	case rate == 0:
		rate, words = math.Inf(1), "all at once"
	}
	run := bench.Online{
		Client: client, Arrivals: bench.Paced(prompts, rate, true, o.Seed), Concurrency: o.Concurrency,
		Total: bench.Progress{Requests: len(prompts)}, Temperature: o.Temperature, Seed: o.Seed, Warmup: o.Warmup,
		Progress: showRun(cmd.ErrOrStderr()), Engine: server.system, Environment: environment(cmd, cfg),
	}
	report, stopped := run.Run(ctx, words)
	if report == nil {
		return stopped
	}
	return errors.Join(o.tell(cmd, report, chosen, source), stopped)
}

// messages are the texts as they go over the wire. Where the server tells how
// long they are, those that leave no room for a reply are left out.
func (o *wildchatOptions) messages(ctx context.Context, c *bench.Client, longest int, texts []string, chosen *bench.Conversations) ([]bench.Prompt, error) {
	var all []bench.Prompt
	tells := longest > 0
	for _, text := range texts {
		p := bench.Prompt{Text: text, MaxTokens: o.MaxOutput}
		if tells {
			n, err := c.Count(ctx, text)
			if tells = err == nil; tells {
				p.MaxTokens = min(p.MaxTokens, longest-n)
			}
		}
		if p.MaxTokens < 1 {
			chosen.Long++
			continue
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fitsNone(len(texts), longest)
	}
	return all, ctx.Err()
}

func fitsNone(texts, longest int) error {
	return fmt.Errorf("none of %d messages fits into the %d tokens that this model and device take", texts, longest)
}

// tell adds to a report what is known of the data set, and writes it.
func (o *wildchatOptions) tell(cmd *cobra.Command, r *bench.Report, chosen *bench.Conversations, source string) error {
	r.Kind, r.Chosen, r.Lengths = "wildchat", chosen, r.Samples.Lengths()
	r.Work.Source = wildchat.Repo + ": " + source
	in := r.Lengths.Input
	r.Work.InputLen = (&bench.Range{Low: in.Min, High: in.Max}).String()
	return o.Report.tell(cmd.OutOrStdout(), r)
}
