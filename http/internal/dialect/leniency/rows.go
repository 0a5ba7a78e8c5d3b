package leniency

// Kinds of values, in field.Value's words.
const (
	text    = "a string"
	boolean = "a boolean"
	number  = "a number"
	object  = "an object"
	array   = "an array"
)

// Rows are the table, by what a row is about.
var Rows = []Row{
	// Labels, billing, caches: read by nobody.
	{API: openai, Name: "user", Fate: Taken, Kind: text, Why: "nobody reads it"},
	{API: completions | Messages, Name: "metadata", Fate: Taken, Kind: object, Why: "nobody reads it"},
	{API: openai, Name: "safety_identifier", Fate: Taken, Kind: text, Why: "nobody reads it"},
	{API: all, Name: "service_tier", Fate: Taken, Kind: text, Why: "there is one"},
	{API: openai, Name: "prompt_cache_key", Fate: Taken, Kind: text, Why: "prefixes are cached whatever is said of them"},
	{API: openai, Name: "prompt_cache_retention", Fate: Taken, Kind: text, Why: "prefixes are cached whatever is said of them"},
	{API: openai, Name: "prompt_cache_options", Fate: Taken, Kind: object, Why: "prefixes are cached whatever is said of them"},
	{API: openai, Name: "cache_prompt", Fate: Taken, Kind: boolean, Why: "prefixes are cached whatever is said of them"},
	{API: openai, Name: "moderation", Fate: Taken, Why: "nothing is moderated"},
	{API: completions, Name: "store", Fate: Taken, Kind: boolean, Why: "completions are not kept"},
	{API: completions, Name: "verbosity", Fate: Taken, Kind: text, Why: "a wish that no template knows of"},
	{API: completions, Name: "prediction", Fate: Taken, Kind: object, Why: "a guess at the answer, which changes nothing in it"},
	{API: Responses, Name: "client_metadata", Fate: Taken, Kind: object, Why: "nobody reads it"},
	{API: Messages, Name: "cache_control", Fate: Taken, Kind: object, Why: "prefixes are cached whatever is said of them"},
	{API: Messages, Name: "inference_geo", Fate: Taken, Kind: text, Why: "there is one place"},
	{API: Messages, Name: "user_profile_id", Fate: Taken, Kind: text, Why: "nobody reads it"},
	{API: Messages, Name: "workspace_id", Fate: Taken, Kind: text, Why: "nobody reads it"},

	// Of how answers are computed or written, without a difference here.
	{API: openai, Name: "guided_decoding_backend", Fate: Taken, Kind: text, Why: "there is one"},
	{API: openai, Name: "spaces_between_special_tokens", Fate: Taken, Kind: boolean, Why: "text is what the tokenizer makes of tokens"},
	{API: openai, Name: "length_penalty", Fate: Taken, Kind: number, Why: "of beam search, which is refused"},
	{API: openai, Name: "early_stopping", Fate: Taken, Why: "of beam search, which is refused"},

	// Other servers' names of what there is.
	{API: Text, Name: "max_completion_tokens", Fate: Mapped, As: "max_tokens"},
	{API: completions, Name: "max_new_tokens", Fate: Mapped, As: "max_tokens"},
	{API: completions, Name: "n_predict", Fate: Mapped, As: "max_tokens"},
	{API: Responses, Name: "max_tokens", Fate: Mapped, As: "max_output_tokens"},
	{API: Responses, Name: "max_completion_tokens", Fate: Mapped, As: "max_output_tokens"},
	{API: openai, Name: "min_new_tokens", Fate: Mapped, As: "min_tokens"},
	{API: openai, Name: "repeat_penalty", Fate: Mapped, As: "repetition_penalty"},
	{API: openai, Name: "no_stop_trim", Fate: Mapped, As: "include_stop_str_in_output"},
	{API: completions, Name: "ebnf", Fate: Mapped, As: "guided_grammar"},
	{API: completions, Name: "grammar", Fate: Mapped, As: "guided_grammar"},
	{API: completions, Name: "json_schema", Fate: Mapped, As: "guided_json"},
	{API: completions, Name: "structural_tag", Fate: Mapped, Kind: object, As: "structured_outputs.structural_tag"},
	{API: Chat | Responses, Name: "enable_thinking", Fate: Mapped, Kind: boolean, As: "chat_template_kwargs.enable_thinking"},
	{API: Chat | Responses, Name: "think", Fate: Mapped, As: "thinking"},

	// Fields of another API, whose own one has to be used.
	{API: Chat, Name: "prompt", Fate: Refused, Why: "this is /v1/chat/completions, which takes messages"},
	{API: Chat, Name: "input", Fate: Refused, Why: "this is /v1/chat/completions, which takes messages"},
	{API: Messages, Name: "prompt", Fate: Refused, Why: "this is /v1/messages, which takes messages"},
	{API: Messages, Name: "input", Fate: Refused, Why: "this is /v1/messages, which takes messages"},
	{API: Text, Name: "messages", Fate: Refused, Why: "this is /v1/completions, which takes prompt"},
	{API: Text, Name: "input", Fate: Refused, Why: "this is /v1/completions, which takes prompt"},
	{API: Text, Name: "tools", Fate: Refused, Only: "[]", Why: "this is /v1/completions, which has no tools"},
	{API: Responses, Name: "messages", Fate: Refused, Why: "this is /v1/responses, which takes input"},
	{API: Responses, Name: "response_format", Fate: Refused, Why: "this is /v1/responses, which takes text.format"},
	{API: Messages, Name: "response_format", Fate: Refused, Why: "this is /v1/messages, which takes output_config.format"},
	{API: Messages, Name: "stop", Fate: Refused, Why: "this is /v1/messages, which takes stop_sequences"},
	{API: Chat, Name: "functions", Fate: Refused, Why: "not supported; use tools"},
	{API: Chat, Name: "function_call", Fate: Refused, Why: "not supported; use tool_choice"},
	{API: completions, Name: "extra_body", Fate: Refused, Only: "{}", Why: "what is in it belongs beside the other fields"},

	// What is not kept here.
	{API: Responses, Name: "conversation", Fate: Refused, Why: "conversations are not kept as such; use previous_response_id"},
	{API: Responses, Name: "prompt", Fate: Refused, Why: "prompts are not kept here; send instructions and input"},
	{API: Messages, Name: "container", Fate: Refused, Why: "not supported: nothing runs here"},
	{API: Messages, Name: "mcp_servers", Fate: Refused, Only: "[]", Why: "tools are called by the client"},

	// What answers would have to be, and would not.
	{API: Responses | Messages, Name: "n", Fate: Refused, Only: "1", Why: "a request has one answer"},
	{API: openai, Name: "best_of", Fate: Refused, Only: "1", Why: "candidates are not ranked"},
	{API: all, Name: "use_beam_search", Fate: Refused, Only: "false", Why: "there is no beam search"},
	{API: all, Name: "logits_processors", Fate: Refused, Only: "[]", Why: "there are none"},
	{API: all, Name: "bad_words", Fate: Refused, Only: "[]", Why: "words cannot be forbidden"},
	{API: all, Name: "allowed_token_ids", Fate: Refused, Only: "[]", Why: "use structured_outputs or logit_bias"},
	{API: Text, Name: "suffix", Fate: Refused, Only: `""`, Why: "text cannot be inserted before a suffix"},
	{API: Chat, Name: "echo", Fate: Refused, Only: "false", Why: "a chat's prompt cannot be echoed"},
	{API: Chat, Name: "add_special_tokens", Fate: Refused, Only: "false", Why: "the chat template writes them"},
	{API: openai, Name: "modalities", Fate: Refused, Only: `["text"]`, Why: "answers are text"},
	{API: openai, Name: "guided_whitespace_pattern", Fate: Refused, Why: "not supported; white space in JSON is bounded"},
	{API: all, Name: "truncate_prompt_tokens", Fate: Refused, Only: "-1", Why: "a prompt is taken whole"},
	{API: all, Name: "input_ids", Fate: Refused, Why: "use prompt in /v1/completions, which takes token ids"},
	{API: all, Name: "prompt_token_ids", Fate: Refused, Why: "use prompt in /v1/completions, which takes token ids"},
	{API: Messages, Name: "speed", Fate: Refused, Only: `"standard"`, Why: "there is one"},

	// Whatever else is named like what would make an answer wrong.
	{API: all, Name: "guided_*", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "structured_*", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "*_format", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "format", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "*grammar*", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "*schema*", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "*regex*", Fate: Refused, Why: "this format is not known"},
	{API: all, Name: "*image*", Fate: Refused, Why: "only text is taken"},
	{API: all, Name: "*audio*", Fate: Refused, Why: "only text is taken, and answers are text"},
	{API: all, Name: "*video*", Fate: Refused, Why: "only text is taken"},
	{API: all, Name: "multi_modal_*", Fate: Refused, Why: "only text is taken"},
	{API: all, Name: "*_embeds", Fate: Refused, Why: "only text and tokens are taken"},
	{API: all, Name: "*lora*", Fate: Refused, Why: "no adapters are served"},

	// Left out. Whatever has no row is, too; these look like what is refused, or
	// are what clients send without being asked.
	{API: all, Name: "web_search_options", Fate: Ignored, Why: "nothing searches the web here"},
	{API: all, Name: "reasoning_format", Fate: Ignored, Why: "reasoning is apart from the answer"},
	{API: all, Name: "mm_processor_kwargs", Fate: Ignored, Why: "only text is taken"},
	{API: all, Name: "cache_salt", Fate: Ignored, Why: "prefixes are shared"},
}
