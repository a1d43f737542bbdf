// Package grpcrunner speaks the protocol of Porch's function runner, from both
// ends: [Client] is a Runtime that lets a runner run the functions, [Server] is
// a runner that offers a Runtime's.
//
// The protocol is one method, EvaluateFunction of the service
// evaluator.FunctionEvaluator:
//
//	message EvaluateFunctionRequest  { bytes resource_list = 1; string image = 2; }
//	message EvaluateFunctionResponse { bytes resource_list = 1; bytes log = 2; }
//
// Two messages of two fields need no generated code: this file writes them by
// hand.
package grpcrunner

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	service = "evaluator.FunctionEvaluator"
	method  = "EvaluateFunction"
)

// MaxMessage is the largest message, in bytes, that Porch's runner takes and
// gives, and so our default.
const MaxMessage = 6 << 20

// message is both the request (list and image) and the response (list and log):
// on the wire they are the same, two fields of bytes.
type message struct {
	list  []byte // field 1
	other []byte // field 2
}

// codec is grpc's encoding.Codec for message, forced on our calls only. It has
// protobuf's name since it speaks it.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("marshalling %T: not a message of the function runner", v)
	}
	b := make([]byte, 0, len(m.list)+len(m.other)+20)
	for i, field := range [][]byte{m.list, m.other} {
		if len(field) > 0 { // proto3 leaves out the empty
			b = protowire.AppendTag(b, protowire.Number(i+1), protowire.BytesType)
			b = protowire.AppendBytes(b, field)
		}
	}
	return b, nil
}

func (codec) Unmarshal(b []byte, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("unmarshalling %T: not a message of the function runner", v)
	}
	*m = message{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if num > 2 || typ != protowire.BytesType { // a field that a later version added
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		field, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		// grpc uses the buffer again
		if field = append([]byte(nil), field...); num == 1 {
			m.list = field
		} else {
			m.other = field
		}
		b = b[n:]
	}
	return nil
}
