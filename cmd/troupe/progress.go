package main

import (
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
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
