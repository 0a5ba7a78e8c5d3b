package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"

	"github.com/troupe-llm/troupe/bench"
)

// showProgress shows bytes as a bar on a terminal, and logs them elsewhere.
func showProgress(w io.Writer, log zerolog.Logger, what string) func(done, total int64) {
	if !isTerminal(w) {
		return logProgress(log)
	}
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
		if bar == nil || bar.GetMax64() != total {
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(done) // it fails when the terminal does
	}
}

// logProgress logs how far something is, every few seconds.
func logProgress(log zerolog.Logger) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		log.Info().Int64("done_bytes", done).Int64("total_bytes", total).Msg("loading weights")
	}
}

// showRequests shows how an online run goes: requests sent, with a first token
// and done, and tokens; in place on a terminal, a line every few seconds
// elsewhere.
func showRequests(w io.Writer) func(bench.Progress) {
	terminal := isTerminal(w)
	var last time.Time
	return func(p bench.Progress) {
		end := p.Requests > 0 && p.Done == p.Requests
		now := time.Now()
		if !terminal && !end && now.Sub(last) < 5*time.Second {
			return
		}
		last = now
		if !terminal {
			fmt.Fprintf(w, "%d requests: %d sent, %d with a first token, %d done; %d tokens\n", p.Requests, p.Sent, p.Prefilled, p.Done, p.Tokens)
			return
		}
		fmt.Fprintf(w, "\r\x1b[Ksent %s  prefill %s  done %s  %d tokens", bar(p.Sent, p.Requests), bar(p.Prefilled, p.Requests), bar(p.Done, p.Requests), p.Tokens)
		if end {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}

// bar draws done of total in ten characters.
func bar(done, total int) string {
	full := 0
	if total > 0 {
		full = 10 * done / total
	}
	return strings.Repeat("█", full) + strings.Repeat("░", 10-full) + fmt.Sprintf(" %d/%d", done, total)
}
