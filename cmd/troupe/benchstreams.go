package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/streams"
)

// streamsOptions are the flags of bench streams.
type streamsOptions struct {
	Streams int           `flag:"streams" value:"N" min:"1" help:"streams open all the time, each on a connection of its own"`
	Rate    float64       `flag:"rate" value:"R" min:"1" max:"10000" help:"tokens a second of each: the simulated device's steps"`
	For     time.Duration `flag:"for" value:"DURATION" min:"0.1" help:"how long to measure"`
	Tokens  int           `flag:"tokens" value:"N" min:"2" help:"tokens of a reply; another request follows on the same connection"`
	Vocab   int           `flag:"vocab" value:"N" min:"2" help:"prompts are made of token ids below N"`
	Profile string        `flag:"profile" value:"FILE" writes:"true" help:"also write a profile of the server's processor time, for go tool pprof"`
	URL     string        `flag:"url" value:"URL" help:"a server on this machine, in place of one started for this"`

	Report reportOptions
}

func newBenchStreams() *cobra.Command {
	o := &streamsOptions{Streams: 2000, Rate: 50, For: time.Minute, Tokens: 1000, Vocab: 4000}
	cmd := &cobra.Command{
		Use:   "streams [flags]",
		Short: "Measure what serving thousands of streams costs, and check every token",
		Long: `Streams starts a server in a process of its own, on a simulated device that gives every
stream so many tokens a second, and keeps that many streams open to it over loopback.
Each token is checked: none may be lost, doubled or out of order. It tells what processor
time the server used for a token, how long a token took from the device to the socket,
and how its memory did. In the end all clients vanish at once, and it is measured when
nothing is left of them. Linux only.`,
		Example: `  troupe bench streams
  troupe bench streams --streams 5000 --for 30s --profile cpu.pprof`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Streams", o}, section{"Report", &o.Report})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if found.err() != nil {
			return found.err()
		}
		return benchStreams(cmd, o)
	}
	return cmd
}

func benchStreams(cmd *cobra.Command, o *streamsOptions) (err error) {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	defer func() {
		if ctx.Err() != nil { // of what broke then nothing is to be told
			err = &bench.Interrupted{Cause: ctx.Err()}
		}
	}()
	url := o.URL
	if url == "" {
		var stop func() error
		if url, stop, err = serveElsewhere(ctx, cmd.ErrOrStderr(), o); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	client := bench.NewClient(url, "", "", 1)
	served, err := client.Served(ctx)
	client.Close()
	if err != nil {
		return err
	}
	load := streams.Load{URL: url, Model: served.Name, Vocab: o.Vocab, Number: o.Streams, Tokens: o.Tokens, For: o.For}
	profiled := make(chan error, 1)
	if o.Profile == "" {
		profiled <- nil
	}
	seconds := 0
	load.Second = func(s streams.Sample) {
		if seconds++; seconds == 1 && o.Profile != "" {
			go func() { profiled <- fetchProfile(ctx, url, o.For, o.Profile) }()
		}
		if seconds%10 == 1 {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d requests open, %d tokens delivered, %d MiB\n", s.Open, s.Delivered, s.Resident>>20)
		}
	}
	report, err := load.Run(ctx)
	if err != nil {
		return err
	}
	err = <-profiled
	if !o.Report.quiet() {
		err = errors.Join(err, report.WriteText(cmd.OutOrStdout()))
	}
	return errors.Join(err, o.Report.write(cmd.OutOrStdout(), report.Report(environment(cmd, &Config{}))))
}

const pageSize = 16 // tokens

// serveElsewhere starts this program as a server in another process, so that
// its processor time is its own.
func serveElsewhere(ctx context.Context, stderr io.Writer, o *streamsOptions) (url string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	step := time.Duration(float64(time.Second) / o.Rate)
	server := exec.CommandContext(ctx, self, "serve", "--port", "0", "--log-level", "warn", "--profiling", "--drain-timeout", "1s",
		"--device", "sim:h200,speed=inf,step="+step.String(),
		"--max-running-requests", fmt.Sprint(o.Streams), "--max-prefill-length", fmt.Sprint(max(8192, 2*o.Streams)),
		"--max-open-requests", fmt.Sprint(o.Streams+16),
		// Twice what the streams need; the simulated GPU's own memory would be
		// so large a table that its garbage is hardly ever collected.
		"--num-pages", fmt.Sprint(2*o.Streams*(o.Tokens/pageSize+2)), "--page-size", fmt.Sprint(pageSize))
	server.Stderr = stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	at := strings.Index(line, "http://")
	if err != nil || at < 0 {
		return "", nil, errors.Join(errors.New("the server ended before it was ready"), server.Wait())
	}
	return strings.TrimSuffix(strings.TrimSpace(line[at:]), "/v1"), func() error {
		if err := server.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		return server.Wait()
	}, nil
}

// fetchProfile has the server profile itself for a while.
func fetchProfile(ctx context.Context, url string, d time.Duration, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", url, max(1, int(d.Seconds())-1)), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return writeTo(file, nil, func(w io.Writer) error {
		_, err := io.Copy(w, resp.Body)
		return err
	})
}
