package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu/model/hub"
)

func newPull() *cobra.Command {
	cfg := defaultConfig()
	var options struct {
		Dir      string `flag:"dir" value:"DIR" help:"where the files go (default: models/NAME under the user's cache directory)"`
		Revision string `flag:"revision" value:"REF" help:"branch, tag or commit"`
		Endpoint string `flag:"endpoint" value:"URL" help:"the hub to ask"`
		Token    string `flag:"token" value:"TOKEN|@FILE" secret:"true" help:"access token, for gated and private models; @FILE reads it from a file"`
	}
	options.Revision, options.Endpoint = "main", hub.DefaultEndpoint
	cmd := &cobra.Command{
		Use:   "pull [flags] OWNER/NAME",
		Short: "Download a model from a Hugging Face hub",
		Long: `Pull downloads a checkpoint and prints the directory to give to --model. Every file is
checked; what was there already is kept, and what was interrupted goes on.`,
		Example: `  troupe serve --model "$(troupe pull Qwen/Qwen3-0.6B)"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("pull takes one model, OWNER/NAME, but there are %d arguments", len(args))}
			}
			return nil
		},
	}
	found := bind(cmd, section{"Source and destination", &options}, section{"Logs", &cfg.Log})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options.Token = readSecret("token", options.Token, found)
		if err := found.err(); err != nil {
			return err
		}
		dir := options.Dir
		if dir == "" {
			cache, err := os.UserCacheDir()
			if err != nil {
				return fmt.Errorf("there is no cache directory, so --dir is needed: %w", err)
			}
			dir = filepath.Join(cache, "troupe", "models", path.Base(args[0]))
		}
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		log := cfg.Log.newLogger(cmd.ErrOrStderr())
		result, err := hub.Pull(ctx, hub.Config{
			Repo: args[0], Revision: options.Revision, Dir: dir, Endpoint: options.Endpoint, Token: options.Token,
			Progress: showProgress(cmd.ErrOrStderr(), log, "pulling", true), Retrying: showRetries(log),
		})
		if err != nil {
			return err
		}
		log.Info().Str("commit", result.Commit).Int("files", len(result.Files)).Int64("fetched_bytes", result.Fetched).Msg("pulled")
		_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
		return err
	}
	return cmd
}

// showRetries logs what a download tries again.
func showRetries(log zerolog.Logger) func(error, time.Duration) {
	return func(err error, after time.Duration) {
		log.Warn().Err(err).Stringer("again_in", after).Msg("a download is interrupted")
	}
}
