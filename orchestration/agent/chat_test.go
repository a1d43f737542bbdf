package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const key = "sk-very-secret"

// server is a chat endpoint that answers as handle does.
func server(t *testing.T, handle http.HandlerFunc) *Chat {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return &Chat{BaseURL: s.URL + "/v1", Key: key, DefaultModel: "small"}
}

// ask is a request for text.
var ask = Request{Task: "rollout/name", Kind: LLMCall, Prompt: "Name a river."}

// events sends each chunk as an event of a stream.
func events(w http.ResponseWriter, chunks ...string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, c := range chunks {
		fmt.Fprintf(w, "data: %s\n\n", c)
		w.(http.Flusher).Flush()
	}
}

// delta is a chunk with a piece of the answer.
func delta(text string) string {
	b, _ := json.Marshal(text)
	return `{"model":"small-1","choices":[{"index":0,"delta":{"content":` + string(b) + `},"finish_reason":null}]}`
}

const (
	stop  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	usage = `{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3}}`
	done  = `[DONE]`
)

// streamed is a server that streams text.
func streamed(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { events(w, delta(text), stop, done) }
}

// fails is the error of a call that must fail with the cause.
func fails(t *testing.T, c *Chat, r Request, cause dag.Cause) error {
	t.Helper()
	resp, err := c.Execute(t.Context(), r)
	require.Error(t, err)
	assert.Nil(t, resp)
	assert.Equal(t, cause, dag.CauseOf(err), "%v", err)
	assert.NotContains(t, err.Error(), key)
	return err
}

func TestStream(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": keep-alive\r\n\r\nevent: message\r\n")
		events(w, `{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}`,
			delta("The Lo"), delta("ire – "), `{"choices":[{"index":1,"delta":{"content":"Rhine"}}]}`, delta("Ωü"), stop, usage, done)
	})
	resp, err := c.Execute(t.Context(), ask)
	require.NoError(t, err)
	assert.Equal(t, &Response{Outputs: map[string]any{"text": "The Loire – Ωü"}, Model: "small-1", InputTokens: 12, OutputTokens: 3}, resp)
}

// Nothing after [DONE] is waited for.
func TestStreamThatStaysOpen(t *testing.T) {
	over := make(chan struct{})
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		events(w, delta("Po"), stop, done)
		<-over
	})
	resp, err := c.Execute(t.Context(), ask)
	close(over)
	require.NoError(t, err)
	assert.Equal(t, "Po", resp.Outputs["text"])
}

func TestServerThatDoesNotStream(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Elbe","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2},"error":null}`)
	})
	resp, err := c.Execute(t.Context(), ask)
	require.NoError(t, err)
	assert.Equal(t, &Response{Outputs: map[string]any{"text": "Elbe"}, Model: "m", InputTokens: 1, OutputTokens: 2}, resp)
}

func TestRequest(t *testing.T) {
	var got, path, authorization string
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, path, authorization = string(b), r.Method+" "+r.URL.String(), r.Header.Get("Authorization")
		streamed(`{"n":1}`)(w, r)
	})
	zero := 0.0
	for name, tc := range map[string]struct {
		r    Request
		want string
	}{
		"least": {
			ask, `{"model":"small","messages":[{"role":"user","content":"Name a river."}],"stream":true,"stream_options":{"include_usage":true}}`,
		},
		"all": {
			Request{
				Kind: LLMCall, Model: "large", System: "Be <brief>.", Prompt: "Count.", Inputs: map[string]any{"b": 9007199254740993, "a": []any{"x&y"}},
				Context: map[string]string{"tenant": "t1", "agent": "a"}, MaxTokens: 7, Temperature: &zero,
				Schema: map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"type": "integer", "minimum": 1}}},
			},
			`{"model":"large","messages":[{"role":"system","content":"Be <brief>.\n\nContext of the run, as JSON:\n{\"agent\":\"a\",\"tenant\":\"t1\"}"},` +
				`{"role":"user","content":"Count.\n\nInputs, as JSON:\n{\"a\":[\"x&y\"],\"b\":9007199254740993}"}],"stream":true,"stream_options":{"include_usage":true},` +
				`"max_completion_tokens":7,"temperature":0,` +
				`"response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":false,"schema":{"properties":{"n":{"minimum":1,"type":"integer"}},"type":"object"}}}}`,
		},
		"atomic": {
			Request{Kind: Atomic, Prompt: "Do it.", Context: map[string]string{"a": "b"}},
			`{"model":"small","messages":[{"role":"system","content":"Context of the run, as JSON:\n{\"a\":\"b\"}"},{"role":"user","content":"Do it.\n\nInputs, as JSON:\n{}"}],"stream":true,"stream_options":{"include_usage":true}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Execute(t.Context(), tc.r)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, "POST /v1/chat/completions", path)
			assert.Equal(t, "Bearer "+key, authorization)
		})
	}

	c.Key = ""
	c.BaseURL += "/?api-version=2"
	_, err := c.Execute(t.Context(), ask)
	require.NoError(t, err)
	assert.Equal(t, "POST /v1/chat/completions?api-version=2", path)
	assert.Empty(t, authorization)
}

// What can't be asked is found before anything is sent.
func TestBadRequest(t *testing.T) {
	c := server(t, func(http.ResponseWriter, *http.Request) { t.Error("asked all the same") })
	for want, change := range map[string]func(*Chat, *Request){
		"prompt is empty":                                 func(_ *Chat, r *Request) { r.Prompt = " \n" },
		"no model":                                        func(c *Chat, _ *Request) { c.DefaultModel = "" },
		`type "tool_call" is none of an agent`:            func(_ *Chat, r *Request) { r.Kind = "tool_call" },
		"maxTokens is -1":                                 func(_ *Chat, r *Request) { r.MaxTokens = -1 },
		"inputs: json: unsupported type":                  func(_ *Chat, r *Request) { r.Inputs = map[string]any{"f": func() {}} },
		`schema of the answer: its type must be "object"`: func(_ *Chat, r *Request) { r.Schema = map[string]any{"type": "array"} },
		"must be http://HOST or https://HOST":             func(c *Chat, _ *Request) { c.BaseURL = "file:///etc/passwd" },
		"is no URL":                                       func(c *Chat, _ *Request) { c.BaseURL = "http://u:" + key + "@[::1" },
		"has a user in it":                                func(c *Chat, _ *Request) { c.BaseURL = "https://u:" + key + "@host/v1" },
		"has a line break":                                func(c *Chat, _ *Request) { c.Key = key + "\n" },
	} {
		t.Run(want, func(t *testing.T) {
			c, r := *c, ask
			change(&c, &r)
			assert.ErrorContains(t, fails(t, &c, r, dag.Permanent), want)
		})
	}
}

func TestRefusedByServer(t *testing.T) {
	for _, tc := range []struct {
		status     int
		retryAfter string
		body, want string
		cause      dag.Cause
		wait       time.Duration // -1: not said
	}{
		{429, "7", `{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}`, "429 Too Many Requests: slow down", dag.Unavailable, 7 * time.Second},
		{429, "", `{"error":{"message":"no money","code":"insufficient_quota"}}`, "429 Too Many Requests: no money", dag.Permanent, -1},
		{429, "soon", "", "429 Too Many Requests", dag.Unavailable, -1},
		{503, "0", "upstream\n\x1b[31mdown", "503 Service Unavailable: upstream [31mdown", dag.Unavailable, 0},
		{500, "", `{"message":"oops"}`, "500 Internal Server Error: oops", dag.Unavailable, -1},
		{501, "", `{"detail":"no"}`, "501 Not Implemented: no", dag.Permanent, -1},
		{504, "", "", "504 Gateway Timeout", dag.Timeout, -1},
		{408, "", "", "408 Request Timeout", dag.Timeout, -1},
		{409, "", "", "409 Conflict", dag.Transient, -1},
		{400, "", `[{"error":{"message":"bad schema","code":400}}]`, "400 Bad Request: bad schema", dag.Permanent, -1},
		{401, "", `{"error":{"message":"Incorrect API key provided: ` + key + `."}}`, "401 Unauthorized: Incorrect API key provided: [key].", dag.Permanent, -1},
		{403, "", `{"error":"forbidden"}`, "403 Forbidden: forbidden", dag.Permanent, -1},
		{404, "", strings.Repeat("é", 400), "404 Not Found: " + strings.Repeat("é", 250) + "…", dag.Permanent, -1},
	} {
		t.Run(fmt.Sprint(tc.status, tc.retryAfter), func(t *testing.T) {
			asked := 0
			c := server(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				if tc.retryAfter != "" {
					w.Header().Set("Retry-After", tc.retryAfter)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			err := fails(t, c, ask, tc.cause)
			assert.EqualError(t, err, c.BaseURL+"/chat/completions: "+tc.want)
			assert.Equal(t, 1, asked, "the client must not try again by itself")
			after, said := errors.AsType[dag.RetryAfter](err)
			require.Equal(t, tc.wait >= 0, said)
			if said {
				assert.Equal(t, tc.wait, after.RetryAfter())
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              -1,
		"120":                           2 * time.Minute,
		"-1":                            -1,
		"1.5":                           -1,
		"99999999999":                   -1,
		"Fri, 01 May 2026 10:00:30 GMT": 30 * time.Second,
		"Fri, 01 May 2026 09:00:00 GMT": 0,
	} {
		got, ok := retryAfter(header, now)
		assert.Equal(t, want >= 0, ok, header)
		assert.Equal(t, max(want, 0), got, header)
	}
}

// A date goes all the way, too.
func TestRetryAfterDate(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	after, ok := errors.AsType[dag.RetryAfter](fails(t, c, ask, dag.Unavailable))
	require.True(t, ok)
	assert.Greater(t, after.RetryAfter(), 50*time.Minute)
	assert.LessOrEqual(t, after.RetryAfter(), time.Hour)
}

// dag waits as long as the server said and then asks again.
func TestRetriedByGraph(t *testing.T) {
	var asked []time.Time
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, time.Now())
		if len(asked) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		streamed("Elbe")(w, r)
	})
	report, err := dag.Run(t.Context(), &dag.Graph{Steps: []dag.Step{{
		Name:  "name",
		Retry: dag.Retry{Limit: 1, Delay: time.Millisecond},
		Do: func(ctx context.Context, _ dag.Inputs) (dag.Result, error) {
			resp, err := c.Execute(ctx, ask)
			if err != nil {
				return dag.Result{}, err
			}
			return dag.Result{Outputs: resp.Outputs}, nil
		},
	}}}, dag.Options{})
	require.NoError(t, err)
	assert.Equal(t, dag.Outputs{"text": "Elbe"}, report.Steps[0].Outputs)
	require.Len(t, asked, 2)
	assert.GreaterOrEqual(t, asked[1].Sub(asked[0]), time.Second)
}

// drop ends the connection as a crash does.
func drop(t *testing.T, w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if assert.NoError(t, err) {
		conn.Close()
	}
}

func TestBadAnswers(t *testing.T) {
	whole := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}
	}
	chunks := func(c ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { events(w, c...) }
	}
	for _, tc := range []struct {
		name   string
		handle http.HandlerFunc
		cause  dag.Cause
		want   string
	}{
		{"dropped before the answer", func(w http.ResponseWriter, _ *http.Request) { drop(t, w) }, dag.Unavailable, "EOF"},
		{"dropped in the answer", func(w http.ResponseWriter, _ *http.Request) { events(w, delta("The Lo")); drop(t, w) }, dag.Unavailable, "broke off after 6 bytes of the answer: unexpected EOF"},
		{"ended in the answer", chunks(delta("The Lo")), dag.Unavailable, "ended after 6 bytes"},
		{"dropped, not streamed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"cho`)
		}, dag.Unavailable, "broke off after 5 bytes"},
		{"error in the stream", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": wait\n\nevent: error\ndata: {\"error\": {\"message\":\"GPU of "+key+" on fire\"}}\n\n")
		}, dag.Unavailable, "the server reports: GPU of [key] on fire"},
		{"error in the stream with status", chunks(delta("T"), `{"error":{"message":"no","code":400}}`), dag.Permanent, "the server reports: no"},
		{"error with status 200", whole(`{"error":{"message":"no such model","type":"invalid_request_error"}}`), dag.Permanent, "no such model"},
		{"bad chunk", chunks(delta("a"), "{"), dag.Other, "chunk that can't be read"},
		{"bad JSON", whole(`{"choices":`), dag.Other, "JSON that can't be read"},
		{"no choices", whole(`{}`), dag.Other, "no choices"},
		{"web page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, dag.Permanent, `"text/html"`},
		{"nothing", chunks(stop, done), dag.Other, "answer is empty"},
		{"cut off", chunks(delta("abc"), `{"choices":[{"delta":{},"finish_reason":"length"}]}`, done), dag.Permanent, "cut off after 3 bytes"},
		{"filtered", chunks(delta("abc"), `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`, done), dag.Permanent, "content filter"},
		{"refusal", chunks(`{"choices":[{"delta":{"refusal":"I can't "}}]}`, `{"choices":[{"delta":{"refusal":"do that."}}]}`, stop, done), dag.Permanent, "the model refused: I can't do that."},
		{"refusal, not streamed", whole(`{"choices":[{"message":{"content":null,"refusal":"No."},"finish_reason":"stop"}]}`), dag.Permanent, "the model refused: No."},
		{"tool", chunks(`{"choices":[{"delta":{"tool_calls":[]},"finish_reason":"tool_calls"}]}`, done), dag.Other, "called a tool"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.ErrorContains(t, fails(t, server(t, tc.handle), ask, tc.cause), tc.want)
		})
	}
}

func TestHugeAnswers(t *testing.T) {
	mb := strings.Repeat("x", 1<<20)
	for name, handle := range map[string]http.HandlerFunc{
		"many chunks": func(w http.ResponseWriter, _ *http.Request) {
			for range 9 {
				events(w, delta(mb))
			}
		},
		"one piece": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"`+strings.Repeat(mb, 9)+`"}}]}`)
		},
		"endless event": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := io.WriteString(w, "data: "+mb+"\n"); err != nil {
					return
				}
			}
		},
		"endless line": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := io.WriteString(w, mb); err != nil {
					return
				}
			}
		},
		"endless JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for {
				if _, err := io.WriteString(w, mb); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, fails(t, server(t, handle), ask, dag.Permanent), "longer than 8 MiB")
		})
	}
}

// An answer of just the size that is allowed comes through.
func TestLargestAnswer(t *testing.T) {
	resp, err := server(t, streamed(strings.Repeat("x", MaxAnswer))).Execute(t.Context(), ask)
	require.NoError(t, err)
	assert.Len(t, resp.Outputs["text"], MaxAnswer)
}

func TestRedirect(t *testing.T) {
	other := server(t, func(http.ResponseWriter, *http.Request) { t.Error("asked a host that nobody named") })
	for name, tc := range map[string]struct {
		to     string
		status int
		want   string // "": it is followed
	}{
		"same host":            {"/elsewhere", http.StatusTemporaryRedirect, ""},
		"same host for good":   {"/elsewhere", http.StatusPermanentRedirect, ""},
		"other host":           {other.BaseURL, http.StatusTemporaryRedirect, "redirected to " + strings.TrimSuffix(other.BaseURL, "/v1")},
		"same host, made GET":  {"/elsewhere", http.StatusSeeOther, "drops the request"},
		"same host, for ever":  {"/v1/chat/completions", http.StatusTemporaryRedirect, "redirected 5 times"},
		"other host, made GET": {other.BaseURL, http.StatusFound, "redirected to"},
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/elsewhere" {
					http.Redirect(w, r, tc.to, tc.status)
					return
				}
				b, _ := io.ReadAll(r.Body)
				assert.Contains(t, string(b), "Name a river.")
				assert.Equal(t, "Bearer "+key, r.Header.Get("Authorization"))
				streamed("Elbe")(w, r)
			})
			if tc.want != "" {
				assert.ErrorContains(t, fails(t, c, ask, dag.Permanent), tc.want)
				return
			}
			resp, err := c.Execute(t.Context(), ask)
			require.NoError(t, err)
			assert.Equal(t, "Elbe", resp.Outputs["text"])
		})
	}
}

// hang is a server that sends first and then nothing more. Its channel gets a
// value when it has sent that.
func hang(t *testing.T, first ...string) (*Chat, <-chan struct{}) {
	sent, over := make(chan struct{}, 1), make(chan struct{})
	c := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if len(first) > 0 {
			events(w, first...)
		}
		sent <- struct{}{}
		<-over
	})
	t.Cleanup(func() { close(over) }) // before the server's, which waits for it
	return c, sent
}

// watched is a transport that tells when the first of a body has been read.
type watched chan<- struct{}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Body = &watchedBody{ReadCloser: resp.Body, read: w}
	}
	return resp, err
}

type watchedBody struct {
	io.ReadCloser
	read chan<- struct{}
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && b.read != nil {
		b.read <- struct{}{}
		b.read = nil
	}
	return n, err
}

func TestHang(t *testing.T) {
	for name, first := range map[string][]string{"before the answer": nil, "in the answer": {delta("The Lo")}} {
		t.Run("cancelled "+name, func(t *testing.T) {
			c, sent := hang(t, first...)
			if len(first) > 0 { // having been sent isn't enough
				read := make(chan struct{}, 1)
				c.HTTPClient, sent = &http.Client{Transport: watched(read)}, read
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the plan was cancelled")
			go func() { <-sent; cancel(why) }()
			_, err := c.Execute(ctx, ask)
			require.ErrorIs(t, err, why)
			assert.EqualError(t, err, c.BaseURL+"/chat/completions: the plan was cancelled")
		})
		t.Run("deadline "+name, func(t *testing.T) {
			c, _ := hang(t, first...)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := c.Execute(ctx, ask)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, dag.Timeout, dag.CauseOf(err))
		})
		t.Run("client's timeout "+name, func(t *testing.T) {
			c, _ := hang(t, first...)
			c.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond}
			fails(t, c, ask, dag.Timeout)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	c := &Chat{BaseURL: "http://" + l.Addr().String() + "?token=" + key, DefaultModel: "m"}
	assert.ErrorContains(t, fails(t, c, ask, dag.Unavailable), "connection refused")
}

func TestUnknownCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(streamed("Elbe"))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	s.StartTLS()
	t.Cleanup(s.Close)
	c := &Chat{BaseURL: s.URL, DefaultModel: "m"}
	assert.ErrorContains(t, fails(t, c, ask, dag.Permanent), "certificate")
	c.HTTPClient = s.Client()
	_, err := c.Execute(t.Context(), ask)
	require.NoError(t, err)
}

// The key isn't shown however a client is printed.
func TestKeyIsNotPrinted(t *testing.T) {
	c := Chat{BaseURL: "https://u:" + key + "@host/v1?k=" + key, Key: key}
	asJSON, err := json.Marshal(map[string]any{"a": c, "b": &c})
	require.NoError(t, err)
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", &c), fmt.Sprintf("%#v", c), fmt.Sprintf("%#v", struct{ C *Chat }{&c}), string(asJSON)} {
		assert.NotContains(t, s, key)
	}
	assert.Equal(t, "chat endpoint https://host/v1", c.String())
}

func TestConcurrent(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		var b body
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&b))
		events(w, delta("re: "), delta(b.Messages[0].Content), stop, done)
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			resp, err := c.Execute(t.Context(), Request{Kind: LLMCall, Prompt: fmt.Sprint(i)})
			if assert.NoError(t, err) {
				assert.Equal(t, fmt.Sprint("re: ", i), resp.Outputs["text"])
			}
		})
	}
	wg.Wait()
}
