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

// showProgress shows bytes, or a count, as a bar on a terminal, and logs them
// elsewhere. At what rate bytes came is logged when they are all there.
func showProgress(w io.Writer, log zerolog.Logger, what string, bytes bool) func(done, total int64) {
	show := logProgress(log, what)
	if isTerminal(w) {
		show = drawProgress(w, what, bytes)
	}
	if !bytes {
		return show
	}
	var began time.Time
	var first int64
	return func(done, total int64) {
		show(done, total)
		if began.IsZero() {
			began, first = time.Now(), done
		}
		if took := time.Since(began); done == total && took >= 100*time.Millisecond {
			log.Info().Int64("bytes", total).Str("took", took.Round(10*time.Millisecond).String()).
				Str("rate", fmt.Sprintf("%.2f GB/s", float64(done-first)/float64(took.Nanoseconds()))).Msg(what)
		}
	}
}

func drawProgress(w io.Writer, what string, bytes bool) func(done, total int64) {
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
		if bar == nil || bar.GetMax64() != total {
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(bytes), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(done) // it fails when the terminal does
	}
}

// logProgress logs how far something is, every few seconds.
func logProgress(log zerolog.Logger, what string) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		log.Info().Int64("done", done).Int64("total", total).Msg(what)
	}
}

// showRun shows how a benchmark goes: on a terminal wide enough four bars, of
// requests sent and done and of tokens prefilled and decoded; elsewhere a line
// every few seconds. The bars go away at the end.
func showRun(w io.Writer) func(bench.Progress) {
	terminal := columns(w) >= 80
	began := time.Now()
	last := began
	drawn, ended := false, false
	return func(p bench.Progress) {
		now := time.Now()
		if ended { // it may be told of more than once
			return
		}
		end := p.Requests > 0 && p.Done == p.Requests
		ended = end
		if !terminal {
			if end || now.Sub(last) >= 5*time.Second {
				last = now
				fmt.Fprintf(w, "%.0f s: %d of %d requests sent, %d done%s; %d tokens prefilled, %d decoded\n",
					now.Sub(began).Seconds(), p.Sent, p.Requests, p.Done, failed(p.Failed), p.Prefill, p.Decode)
			}
			return
		}
		text := ""
		if drawn {
			text = "\x1b[4A\r\x1b[J" // up to where the bars began, and away with them
		}
		drawn = !end
		if drawn {
			text += runBars(p, now.Sub(began))
		}
		fmt.Fprint(w, text)
	}
}

// failed says how many requests did, if any.
func failed(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d failed", n)
}

// runBars are the four lines of showRun.
func runBars(p bench.Progress, since time.Duration) string {
	var b strings.Builder
	for _, line := range []struct {
		name      string
		done, all int
		unit      string
		more      string
	}{
		{"sent", p.Sent, p.Requests, "requests", ""},
		{"done", p.Done, p.Requests, "requests", failed(p.Failed)},
		{"prefill", p.Prefill, p.PrefillAll, "tokens", ""},
		{"decode", p.Decode, p.DecodeAll, "tokens", ""},
	} {
		rate := float64(line.done) / max(since.Seconds(), 1e-3)
		of := fmt.Sprintf("/ %-9d", line.all)
		if line.all == 0 { // not known beforehand
			of = strings.Repeat(" ", len(of))
		}
		fmt.Fprintf(&b, "%-8s%s %9d %s %s, %.1f/s%s\n", line.name, bar(line.done, line.all), line.done, of, line.unit, rate, line.more)
	}
	return b.String()
}

// bar draws done of total in 24 characters, eighths of them at its end.
func bar(done, total int) string {
	const width = 24
	eighths := 0
	if total > 0 {
		eighths = 8 * width * min(done, total) / total
	}
	text := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[part])
	}
	return "▕" + text + strings.Repeat(" ", width-len([]rune(text))) + "▏"
}
