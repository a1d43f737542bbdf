package progress

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// EventsConfig says whose events they are and which of them are written.
type EventsConfig struct {
	// Run tells this run from others; ids are Run-1, Run-2 and so on.
	Run string
	// Name is what is run, such as a plan's name; the source is /stoop/Name.
	Name string
	// Filter chooses what is written. Default all.
	Filter Filter
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Events writes what happens as CloudEvents 1.0, one in a line of JSON:
//
//	{"specversion":"1.0","id":"RUN-7","source":"/stoop/NAME","type":"dev.stoop.task.failed.v1",
//	 "subject":"rollout/clone","time":"2006-01-02T15:04:05.999999999Z","datacontenttype":"application/json",
//	 "data":{"from":"Executing","to":"Failed","attempt":2,"code":"E5205","reason":"…","elapsedMs":1500,"clean":false}}
//
// The numbers of what is written have no gaps. Each event is written within a
// millisecond, in the background: a reader that is slow, stuck or gone never holds
// up the run. What couldn't be written is the error of Close.
//
// Its methods may be called concurrently; those of a nil *Events do nothing.
type Events struct {
	queue      *queue
	config     EventsConfig
	id, source string // as JSON, without the quotes

	seq int   // guarded by queue.mu
	bad error // about outputs; guarded by queue.mu
}

// NewEvents returns an Events that writes to w until Close.
func NewEvents(w io.Writer, c EventsConfig) *Events {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Events{
		queue: newQueue(w), config: c,
		id:     string(appendText(nil, clean(c.Run, 0))),
		source: string(appendText(nil, "/stoop/"+url.PathEscape(c.Name))),
	}
}

// Close waits until all is written, or its reader has taken nothing for 10
// seconds, and returns the first error there was. It doesn't close the writer.
func (e *Events) Close() error {
	if e == nil {
		return nil
	}
	err := e.queue.close()
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	if err = errors.Join(err, e.bad); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

// Observe writes a change of a task's state. data has the event's fields, reason
// the text of its error where there is one, and outputs if there are any.
func (e *Events) Observe(ev dag.Event) {
	e.write(kind(ev.To), ev.Step, func(b []byte) []byte {
		b = append(b, `"from":"`...)
		b = append(b, ev.From.String()...)
		b = append(b, `","to":"`...)
		b = append(b, ev.To.String()...)
		b = append(b, `","attempt":`...)
		b = strconv.AppendInt(b, int64(ev.Attempt), 10)
		b = append(b, `,"code":`...)
		b = appendString(b, string(ev.Code))
		b = append(b, `,"reason":`...)
		b = appendString(b, api.HidePasswords(why(ev)))
		b = append(b, `,"elapsedMs":`...)
		b = strconv.AppendInt(b, ev.Elapsed.Milliseconds(), 10)
		b = append(b, `,"clean":`...)
		b = strconv.AppendBool(b, ev.Clean)
		if len(ev.Outputs) > 0 {
			b = e.appendOutputs(b, ev)
		}
		return b
	})
}

// why is what an event says in words, its error included.
func why(ev dag.Event) string {
	reason, err := words(ev)
	if reason != "" && err != "" {
		return reason + ": " + err
	}
	return reason + err
}

// words are the reason of an event and the text of its error, without one that
// the other has in it.
func words(ev dag.Event) (reason, err string) {
	if ev.Err == nil {
		return ev.Reason, ""
	}
	err = ev.Err.Error()
	if strings.Contains(err, ev.Reason) { // less the path of the task, mostly
		return "", cmp.Or(ev.Reason, err)
	}
	return ev.Reason, err
}

// appendOutputs leaves out what JSON can't hold, for Close to tell.
func (e *Events) appendOutputs(b []byte, ev dag.Event) []byte {
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev.Outputs); err != nil {
		if e.bad == nil {
			e.bad = fmt.Errorf("outputs of %s: %w", ev.Step, err)
		}
		return b
	}
	b = append(b, `,"outputs":`...)
	// only in strings is there anything to escape
	return appendSeen(b, string(bytes.TrimSuffix(doc.Bytes(), []byte("\n"))))
}

// PlanStarted writes that a run of so many tasks begins. The subject is Name.
func (e *Events) PlanStarted(tasks int) {
	if e == nil {
		return
	}
	e.write(planStarted, e.config.Name, func(b []byte) []byte {
		return fmt.Appendf(b, `"tasks":%d`, tasks)
	})
}

// PlanEnded writes how a run ended: its phase and the figures of its report. The
// subject is Name.
func (e *Events) PlanEnded(r *dag.Report) {
	if e == nil {
		return
	}
	s := r.Stats
	e.write(planEnded, e.config.Name, func(b []byte) []byte {
		return fmt.Appendf(b, `"phase":%q,"executed":%d,"completed":%d,"failed":%d,"retried":%d,"blocked":%d,"skipped":%d,"cancelled":%d,"unfinished":%d,"clean":%d,"elapsedMs":%d`,
			r.Phase, s.Executed, s.Completed, s.Failed, s.Retried, s.Blocked, s.Skipped, s.Cancelled, s.Unfinished, s.Clean, r.Elapsed.Milliseconds())
	})
}

// Change is what happened to a package revision.
type Change uint8

// The changes.
const (
	Added Change = iota
	Modified
	Deleted
)

// PackageRevision is what an event tells about a package revision, by Porch's
// names.
type PackageRevision struct {
	Name       string // the subject
	Repository string
	Package    string
	Workspace  string
	Revision   int // 0: not published, -1: the branch's
	Lifecycle  string
}

// PackageRevision writes a change of a package revision.
func (e *Events) PackageRevision(c Change, p PackageRevision) {
	e.write(revisionAdded+kind(c), p.Name, func(b []byte) []byte {
		for _, f := range [...]struct{ key, value string }{
			{`"name":`, p.Name}, {`,"repository":`, p.Repository}, {`,"package":`, p.Package}, {`,"workspace":`, p.Workspace},
		} {
			b = appendString(append(b, f.key...), f.value)
		}
		b = strconv.AppendInt(append(b, `,"revision":`...), int64(p.Revision), 10)
		return appendString(append(b, `,"lifecycle":`...), p.Lifecycle)
	})
}

// write writes an event that passes the filter, with the members of data that
// add appends.
func (e *Events) write(k kind, subject string, add func([]byte) []byte) {
	if e == nil || !e.config.Filter.passes(k, subject) {
		return
	}
	e.queue.put(func(b []byte) []byte {
		e.seq++
		b = append(b, `{"specversion":"1.0","id":"`...)
		b = append(b, e.id...)
		b = append(b, '-')
		b = strconv.AppendInt(b, int64(e.seq), 10)
		b = append(b, `","source":"`...)
		b = append(b, e.source...)
		b = append(b, `","type":"dev.stoop.`...)
		b = append(b, kindNames[k]...)
		b = append(b, `.v1`...)
		if subject != "" { // CloudEvents has no empty ones
			b = append(b, `","subject":"`...)
			b = appendText(b, clean(subject, 0)) // nor control characters
		}
		b = append(b, `","time":"`...)
		b = e.config.Now().UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, `","datacontenttype":"application/json","data":{`...)
		return append(add(b), "}}\n"...)
	})
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	return append(appendText(append(b, '"'), s), '"')
}

// appendText appends the inside of a JSON string. What can't be seen is escaped,
// so that the line is harmless on a terminal too.
func appendText(b []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			b = appendSeen(b, s[from:i])
			from = i + 1
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			default:
				b = appendEscape(b, rune(c))
			}
		}
	}
	return appendSeen(b, s[from:])
}

// appendSeen appends s with those of its characters from DEL on that can't be
// seen escaped.
func appendSeen(b []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		if s[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			b = appendEscape(append(b, s[from:i]...), r)
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendEscape(appendEscape(b, high), low)
	}
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
