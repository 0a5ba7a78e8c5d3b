package tokenize_test

import (
	"fmt"
	"log"
	"os"

	"github.com/troupe-llm/troupe/tokenize"
)

// A tokenizer comes from the directory of a checkpoint, here of the model inside the program, which
// programs of other modules have as builtin.FS().
func Example() {
	tok, err := tokenize.Load(os.DirFS("../gpu/model/builtin/checkpoint"))
	if err != nil {
		log.Fatal(err)
	}
	ids := tok.Encode("Once upon a time", false)
	fmt.Println(len(ids), tok.Decode(ids[:2], true))

	prompt, err := tok.Render(*tokenize.NewChat(tokenize.UserMessage("Thank you")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", prompt)
	// Output:
	// 4 Once upon
	// "<|im_start|>user\nThank you<|im_end|>\n<|im_start|>assistant\n"
}

// A conversation as clients of OpenAI's API send it, with a call of a tool.
func ExampleDecodeMessages() {
	messages, err := tokenize.DecodeMessages([]byte(`[
		{"role": "user", "content": "Is it raining in Oslo?"},
		{"role": "assistant", "content": "", "tool_calls": [
			{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}}]}]`))
	if err != nil {
		log.Fatal(err)
	}
	messages = append(messages, tokenize.ToolMessage("1", "No."))
	for _, m := range messages {
		fmt.Printf("%s: %q\n", m.Text("role"), m.Text("content"))
	}
	// Output:
	// user: "Is it raining in Oslo?"
	// assistant: ""
	// tool: "No."
}
