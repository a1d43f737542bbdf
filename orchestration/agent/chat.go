package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// maxBody is how much of a response is read, in bytes. Every few letters of an
// answer come in a chunk of some hundred bytes.
const maxBody = 8 * MaxAnswer

// Chat is an [Executor] that asks an OpenAI-compatible chat endpoint. It isn't
// changed by its methods and may be used concurrently.
type Chat struct {
	BaseURL      string       // http(s), the part before /chat/completions; a query is kept
	Key          string       // sent as bearer token; empty: none
	DefaultModel string       // for requests that name none
	HTTPClient   *http.Client // nil: one that takes proxies from the environment. Redirects to other hosts are refused in any case.
}

var _ Executor = (*Chat)(nil)

// String is the base URL; it keeps the key out of messages.
func (c Chat) String() string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return "chat endpoint"
	}
	return "chat endpoint " + bare(u)
}

// GoString is String.
func (c Chat) GoString() string { return c.String() }

// MarshalText is String, for logs in JSON.
func (c Chat) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// bare is u without what may be secret.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// The wire format: https://platform.openai.com/docs/api-reference/chat.
type (
	body struct {
		Model          string          `json:"model"`
		Messages       []message       `json:"messages"`
		Stream         bool            `json:"stream"`
		StreamOptions  streamOptions   `json:"stream_options"`
		MaxTokens      int             `json:"max_completion_tokens,omitempty"`
		Temperature    *float64        `json:"temperature,omitempty"`
		ResponseFormat *responseFormat `json:"response_format,omitempty"`
	}
	message struct {
		Role    string `json:"role,omitempty"`
		Content string `json:"content"`
		Refusal string `json:"refusal,omitempty"`
	}
	streamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	}
	responseFormat struct {
		Type       string     `json:"type"`
		JSONSchema jsonSchema `json:"json_schema"`
	}
	jsonSchema struct {
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	}

	// reply is a whole answer, or a chunk of one.
	reply struct {
		Model   string `json:"model"`
		Choices []struct {
			Index        int     `json:"index"`
			Message      message `json:"message"` // of a whole answer
			Delta        message `json:"delta"`   // of a chunk
			FinishReason string  `json:"finish_reason"`
		} `json:"choices"`
		Usage *struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
		Error json.RawMessage `json:"error"`
	}
)

// Execute asks once and waits for the whole answer, as long as ctx lets it.
//
// The cause of an error is Timeout, Unavailable or Transient when the server or
// the way to it is at fault, Error when the answer isn't what the schema asks
// for, and Permanent when asking the same again is of no use.
func (c *Chat) Execute(ctx context.Context, r Request) (*Response, error) {
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, dag.Mark(dag.Permanent, err)
	}
	var schema *schema
	if r.Schema != nil {
		if schema, err = newSchema(r.Schema); err != nil {
			return nil, dag.Mark(dag.Permanent, fmt.Errorf("schema of the answer: %w", err))
		}
	}
	b, err := c.body(r, schema)
	if err != nil {
		return nil, dag.Mark(dag.Permanent, err)
	}
	a, err := c.ask(ctx, endpoint, b)
	if err != nil {
		if ctx.Err() != nil { // then this is why
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", bare(endpoint), err)
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	resp := &Response{Model: a.model, InputTokens: a.in, OutputTokens: a.out}
	if schema == nil {
		resp.Outputs = map[string]any{"text": a.text.String()}
	} else if resp.Outputs, err = schema.decode(unfenced(a.text.String())); err != nil {
		return nil, dag.Mark(dag.Other, fmt.Errorf("the model's answer: %w", err))
	}
	return resp, nil
}

// endpoint is where to post to.
func (c *Chat) endpoint() (*url.URL, error) {
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		return nil, errors.New("base URL of the chat endpoint is no URL") // err would show it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("base URL of the chat endpoint must be http://HOST or https://HOST, such as https://api.openai.com/v1")
	case u.User != nil:
		return nil, errors.New("base URL of the chat endpoint has a user in it: give the key by itself")
	case strings.ContainsFunc(c.Key, unicode.IsControl):
		return nil, errors.New("key of the chat endpoint has a line break or another control character in it")
	}
	return u.JoinPath("chat", "completions"), nil
}

// body is the request as it is sent.
func (c *Chat) body(r Request, schema *schema) ([]byte, error) {
	if r.Kind != Atomic && r.Kind != LLMCall {
		return nil, fmt.Errorf("type %q is none of an agent: use %s or %s", r.Kind, Atomic, LLMCall)
	}
	b := body{Model: r.Model, Stream: true, StreamOptions: streamOptions{true}, MaxTokens: r.MaxTokens, Temperature: r.Temperature}
	if b.Model == "" {
		b.Model = c.DefaultModel
	}
	switch {
	case b.Model == "":
		return nil, errors.New("no model: name one in the task, or a default one by --agent-model")
	case strings.TrimSpace(r.Prompt) == "":
		return nil, errors.New("prompt is empty")
	case r.MaxTokens < 0:
		return nil, fmt.Errorf("maxTokens is %d: use a positive number", r.MaxTokens)
	}
	system, user := r.System, r.Prompt
	if len(r.Context) > 0 {
		text, err := marshal(r.Context)
		if err != nil {
			return nil, fmt.Errorf("context: %w", err)
		}
		system = strings.TrimPrefix(system+"\n\nContext of the run, as JSON:\n"+string(text), "\n\n")
	}
	if r.Kind == Atomic || len(r.Inputs) > 0 {
		inputs := r.Inputs
		if inputs == nil {
			inputs = map[string]any{}
		}
		text, err := marshal(inputs)
		if err != nil {
			return nil, fmt.Errorf("inputs: %w", err)
		}
		user += "\n\nInputs, as JSON:\n" + string(text)
	}
	if system != "" {
		b.Messages = append(b.Messages, message{Role: "system", Content: system})
	}
	b.Messages = append(b.Messages, message{Role: "user", Content: user})
	if schema != nil {
		b.ResponseFormat = &responseFormat{"json_schema", jsonSchema{"answer", strict(schema.root), schema.text}}
	}
	return marshal(b)
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// answer is what has come so far.
type answer struct {
	text, refusal strings.Builder
	model, finish string
	in, out       int
	done          bool
}

// ask posts the body and gathers the answer.
func (c *Chat) ask(ctx context.Context, to *url.URL, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, dag.Mark(dag.Permanent, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream, application/json;q=0.9")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	var client http.Client
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	client.CheckRedirect = sameHost
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, c.refused(resp)
	}
	// one byte more, to see that there is more
	limited := &io.LimitedReader{R: resp.Body, N: maxBody + 1}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{limited, resp.Body}
	a := &answer{}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch media {
	case "text/event-stream":
		err = c.stream(a, ssestream.NewDecoder(resp))
	case "application/json":
		err = c.whole(a, resp.Body)
	default:
		return nil, dag.Mark(dag.Permanent, fmt.Errorf("the server answered with %q and neither a stream of events nor JSON: is the base URL right?", media))
	}
	if limited.N <= 0 || errors.Is(err, bufio.ErrTooLong) {
		return nil, errTooLong
	}
	return a, err
}

var errTooLong = dag.Mark(dag.Permanent, fmt.Errorf("the answer is longer than %d MiB: ask for less, or set maxTokens", MaxAnswer>>20))

// stream gathers an answer that comes in chunks.
func (c *Chat) stream(a *answer, d ssestream.Decoder) error {
	for !a.done && d.Next() {
		data := bytes.TrimSpace(d.Event().Data)
		if bytes.Equal(data, []byte("[DONE]")) {
			a.done = true
			break
		}
		var r reply
		if err := json.Unmarshal(data, &r); err != nil {
			return dag.Mark(dag.Other, fmt.Errorf("the server sent a chunk that can't be read: %w", err))
		}
		if err := c.add(a, r); err != nil {
			return err
		}
	}
	if err := d.Err(); err != nil && !a.done && a.finish == "" {
		return dag.Mark(unreachable(err), fmt.Errorf("the server's stream broke off after %d bytes of the answer: %w", a.text.Len(), err))
	}
	if !a.done && a.finish == "" {
		return dag.Mark(dag.Unavailable, fmt.Errorf("the server's stream ended after %d bytes, before the end of the answer", a.text.Len()))
	}
	return nil
}

// whole reads an answer that comes in one piece.
func (c *Chat) whole(a *answer, body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return dag.Mark(unreachable(err), fmt.Errorf("the server's answer broke off after %d bytes: %w", len(data), err))
	}
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return dag.Mark(dag.Other, fmt.Errorf("the server sent JSON that can't be read: %w", err))
	}
	if len(r.Choices) == 0 && !isSet(r.Error) {
		return dag.Mark(dag.Other, errors.New("the server's answer has no choices"))
	}
	for i := range r.Choices {
		r.Choices[i].Delta = r.Choices[i].Message
	}
	return c.add(a, r)
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// add adds what r brings.
func (c *Chat) add(a *answer, r reply) error {
	if isSet(r.Error) {
		return c.reported(r.Error)
	}
	if r.Model != "" {
		a.model = r.Model
	}
	if r.Usage != nil {
		a.in, a.out = r.Usage.PromptTokens, r.Usage.CompletionTokens
	}
	for _, choice := range r.Choices {
		if choice.Index != 0 {
			continue // we asked for one
		}
		a.text.WriteString(choice.Delta.Content)
		a.refusal.WriteString(choice.Delta.Refusal)
		if choice.FinishReason != "" {
			a.finish = choice.FinishReason
		}
	}
	if a.text.Len()+a.refusal.Len() > MaxAnswer {
		return errTooLong
	}
	return nil
}

// check says why a can't be used, if it can't.
func (a *answer) check() error {
	switch {
	case a.refusal.Len() > 0:
		return dag.Mark(dag.Permanent, fmt.Errorf("the model refused: %s", oneLine(a.refusal.String())))
	case a.finish == "length":
		return dag.Mark(dag.Permanent, fmt.Errorf("the model's answer was cut off after %d bytes, when the limit of tokens was reached: raise maxTokens, or ask for less", a.text.Len()))
	case a.finish == "content_filter":
		return dag.Mark(dag.Permanent, errors.New("the server's content filter held back the answer"))
	case a.finish == "tool_calls" || a.finish == "function_call":
		return dag.Mark(dag.Other, errors.New("the model called a tool instead of answering; it was offered none"))
	case strings.TrimSpace(a.text.String()) == "":
		return dag.Mark(dag.Other, errors.New("the model's answer is empty"))
	}
	return nil
}
