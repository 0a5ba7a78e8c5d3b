package tokenize

import "errors"

// Chat is a conversation to be rendered by a model's chat template. Messages
// and Tools are decoded JSON.
type Chat struct {
	Messages            any
	Tools               any
	AddGenerationPrompt bool
	Kwargs              map[string]any // further variables of the template, such as enable_thinking
	Template            string         // which of several named templates; "" the default
}

// Render writes the conversation as the model's chat template does.
func (t *Tokenizer) Render(Chat) (string, error) {
	return "", errors.New("this model has no chat template")
}

// HasChatTemplate reports whether Render can do anything.
func (t *Tokenizer) HasChatTemplate() bool { return false }
