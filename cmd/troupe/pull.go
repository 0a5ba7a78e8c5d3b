package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu/model/hub"
)

func newPull() *cobra.Command {
	cfg := defaultConfig()
	var options struct {
		Dir      string `flag:"dir" value:"DIR" help:"a directory for the files, instead of the cache that --model looks in"`
		Revision string `flag:"revision" value:"REF" help:"branch, tag or commit (default: the name's, or main)"`
		Hub      string `flag:"hub" choices:"huggingface,modelscope" help:"whose API the hub speaks; what comes from ModelScope needs --dir"`
		Endpoint string `flag:"endpoint" value:"URL" help:"the hub to ask (default: HF_ENDPOINT's, or https://huggingface.co; https://modelscope.cn)"`
		Token    string `flag:"token" value:"TOKEN|@FILE" secret:"true" help:"access token, for gated and private models; @FILE reads it from a file (default: HF_TOKEN's, or the one of huggingface_hub's login)"`
	}
	options.Hub = "huggingface"
	cmd := &cobra.Command{
		Use:   "pull [flags] OWNER/NAME[:REVISION|:QUANTISATION]",
		Short: "Download a model from Hugging Face, or bring it up to date",
		Long: `Pull downloads a checkpoint into Hugging Face's cache, which other programs share, and
prints its directory there. Every file is checked; what was there already is kept, and
what was interrupted goes on. HF_HOME and HF_HUB_CACHE place the cache.`,
		Example: `  troupe pull Qwen/Qwen3-0.6B
  troupe pull Qwen/Qwen3-0.6B-GGUF:Q8_0
  troupe pull Qwen/Qwen3-0.6B --hub modelscope --dir ~/models/Qwen3-0.6B`,
		Args: modelArg,
	}
	found := bind(cmd, section{"Source and destination", &options}, section{"Logs", &cfg.Log})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options.Token = readSecret("token", options.Token, found)
		name := checkName(args[0], found)
		modelScope := options.Hub == "modelscope"
		if modelScope && options.Dir == "" {
			found.add("--hub is modelscope, which names no commits, as the cache goes by: give the files a directory with --dir")
		}
		if options.Revision != "" && name.revision != "" {
			found.add("--revision is %q, and the name has one, too: %s", options.Revision, name)
		}
		if err := found.err(); err != nil {
			return err
		}
		env, err := environOf(cmd.Context()).hub()
		if err != nil && options.Dir == "" {
			return err
		}
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		log := cfg.Log.newLogger(cmd.ErrOrStderr())
		c := hub.Config{
			Repo: name.repo, Revision: cmp.Or(options.Revision, name.revision), GGUF: name.gguf, Dir: options.Dir,
			Endpoint: cmp.Or(options.Endpoint, env.Endpoint), Token: cmp.Or(options.Token, env.Token),
			Progress: showProgress(cmd.ErrOrStderr(), log, "pulling "+name.String(), true), Retrying: showRetries(log),
		}
		if c.Dir == "" {
			c.Cache = env.Cache
		}
		if c.ModelScope = modelScope; modelScope { // Hugging Face's variables are not for it
			c.Endpoint, c.Token = options.Endpoint, options.Token
		}
		result, err := hub.Pull(ctx, c)
		if err != nil {
			return err
		}
		log.Info().Str("commit", result.Commit).Int("files", len(result.Files)).Int64("fetched_bytes", result.Fetched).Msg("pulled")
		_, err = fmt.Fprintln(cmd.OutOrStdout(), result.Dir)
		return err
	}
	return cmd
}

// modelArg wants one model as the argument.
func modelArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("%s takes one model, such as Qwen/Qwen3-0.6B, but there are %d arguments", cmd.Name(), len(args))}
	}
	return nil
}

// checkName takes an argument for a name on a hub.
func checkName(arg string, found *faults) hubModel {
	parts := hubName.FindStringSubmatch(arg)
	if parts == nil {
		found.add("%q is no model's name, want OWNER/NAME, OWNER/NAME:REVISION or, of GGUF files, OWNER/NAME:QUANTISATION", arg)
		return hubModel{}
	}
	return named(parts)
}

// showRetries logs what a download tries again.
func showRetries(log zerolog.Logger) func(error, time.Duration) {
	return func(err error, after time.Duration) {
		log.Warn().Err(err).Stringer("again_in", after).Msg("a download is interrupted")
	}
}
