//go:build cuda

package cuda

// rounding is what computing in bfloat16 costs: how far log-probabilities of a
// reference's tokens are from float32's.
type rounding struct{ most, rms float64 }

// transformersIn16 is that of transformers 5.17 in bfloat16 on an H200, each
// checkpoint's prompts and tokens given whole. It is much where a rounding sends
// a token to other experts. Those that it could not load, or not as what their
// references are of, are not here.
var transformersIn16 = map[string]rounding{
	"families/deepseek-v3":      {2.9464, 0.3294},
	"families/glm4-moe":         {0.4229, 0.0634},
	"families/gpt-oss":          {0.4513, 0.0698},
	"families/gpt-oss-mxfp4":    {0.4952, 0.0746},
	"families/granite":          {0.0084, 0.0033},
	"families/llama-linear":     {0.0918, 0.0262},
	"families/minimax-m2":       {0.1574, 0.0306},
	"families/ministral3":       {0.1019, 0.0271},
	"families/mistral-window":   {0.0624, 0.0238},
	"families/olmo3":            {0.052, 0.0176},
	"families/phi3":             {0.1609, 0.0386},
	"families/qwen3-window":     {0.0642, 0.0215},
	"families/qwen3-yarn":       {0.0706, 0.0268},
	"families/qwen3.5":          {0.4942, 0.0733},
	"families/qwen3.5-moe":      {2.3884, 0.4504},
	"families/qwen3.5-wrapped":  {0.6556, 0.0799},
	"families/smollm3":          {0.1223, 0.0343},
	"own-families/gemma3":       {0.0145, 0.0059},
	"own-families/glm4-moe":     {0.088, 0.0188},
	"own-families/gpt-oss":      {0.0415, 0.0147},
	"own-families/granite":      {0.004, 0.0018},
	"own-families/minimax-m2":   {0.2597, 0.0488},
	"own-families/ministral3":   {0.035, 0.0138},
	"own-families/olmo3":        {0.0303, 0.0119},
	"own-families/phi3":         {0.1675, 0.0499},
	"own-families/qwen3-window": {0.0348, 0.0141},
	"own-families/qwen3.5":      {0.3004, 0.0552},
	"own-families/qwen3.5-moe":  {1.1571, 0.1763},
	"own-families/smollm3":      {0.038, 0.0146},
}

// modelsIn16 is the same of the first checkpoints, which are held to widest, or
// as far as four times the mean, while their tokens are generated. Where tokens are computed again in prompts, as behind
// preemption, other roundings meet: there it is no farther than transformers is.
var modelsIn16 = map[string]rounding{
	"llama3":                {0.0581, 0.0192},
	"mistral":               {0.0687, 0.0237},
	"qwen2":                 {0.191, 0.0447},
	"qwen3":                 {0.0499, 0.0147},
	"fixtures/llama3":       {0.1041, 0.0252},
	"fixtures/mistral":      {0.1027, 0.0323},
	"fixtures/qwen2":        {0.0838, 0.0244},
	"fixtures/qwen3-tied":   {0.0637, 0.0198},
	"fixtures/qwen3-untied": {0.048, 0.0176},
}
