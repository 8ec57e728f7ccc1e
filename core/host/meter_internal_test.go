package host

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// scriptedStream answers what it is told to.
type scriptedStream struct {
	grpc.ClientStream
	answers []*pluginv1.HookResult
}

func (*scriptedStream) SendMsg(any) error { return nil }

func (s *scriptedStream) RecvMsg(m any) error {
	if len(s.answers) == 0 {
		return io.EOF
	}
	m.(*pluginv1.HooksResponse).Results = s.answers[:1]
	s.answers = s.answers[1:]
	return nil
}

func TestMeterKnowsWhichCallsHaveNoAnswer(t *testing.T) {
	m := &meter{plugin: "p"}
	s := m.open(&scriptedStream{answers: []*pluginv1.HookResult{{Id: 2}, {Id: 7}, {Id: 1, Error: "no"}}}, "Resource/Hooks")
	if err := s.SendMsg(&pluginv1.HooksRequest{Calls: []*pluginv1.HookCall{{Id: 1}, {Id: 2}, {Id: 3}}}); err != nil {
		t.Fatal(err)
	}
	expect := func(unanswered int, calls, failed int64) {
		t.Helper()
		if n, _ := m.unanswered(0); n != unanswered || m.calls.Load() != calls || m.errors.Load() != failed {
			t.Errorf("%d unanswered, %d calls, %d errors; want %d, %d, %d", n, m.calls.Load(), m.errors.Load(), unanswered, calls, failed)
		}
	}
	expect(3, 0, 0)
	if n, silence := m.unanswered(time.Hour); n != 0 || silence != 0 {
		t.Errorf("%d calls are older than an hour, with %s of silence", n, silence)
	}
	for _, after := range []struct {
		unanswered    int
		calls, failed int64
	}{
		{2, 1, 0},
		{2, 1, 0}, // nobody has asked for 7
		{1, 2, 1},
	} {
		if err := s.RecvMsg(&pluginv1.HooksResponse{}); err != nil {
			t.Fatal(err)
		}
		expect(after.unanswered, after.calls, after.failed)
	}
	if err := s.RecvMsg(&pluginv1.HooksResponse{}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	expect(0, 3, 2)
}
