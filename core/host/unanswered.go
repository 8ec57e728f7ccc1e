package host

import (
	"sync"
	"time"

	"google.golang.org/grpc"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// meteredStream sees calls go and answers come on a stream that carries many. A stream of
// another kind passes through.
type meteredStream struct {
	grpc.ClientStream
	meter  *meter
	method string

	mu       sync.Mutex
	began    map[uint64]time.Time
	answered time.Time // the last answer
	ended    bool
}

func (m *meter) open(s grpc.ClientStream, method string) *meteredStream {
	ms := &meteredStream{ClientStream: s, meter: m, method: method, began: map[uint64]time.Time{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams == nil {
		m.streams = map[*meteredStream]bool{}
	}
	m.streams[ms] = true
	return ms
}

// SendMsg implements grpc.ClientStream.
func (s *meteredStream) SendMsg(m any) error {
	switch r := m.(type) {
	case *pluginv1.HooksRequest:
		begin(s, r.GetCalls())
	case *pluginv1.ReviewsRequest:
		begin(s, r.GetReviews())
	case *pluginv1.TokensRequest:
		begin(s, r.GetQuestions())
	case *pluginv1.DecisionsRequest:
		begin(s, r.GetQuestions())
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *meteredStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		s.end()
		s.meter.refused(err)
		return err //nolint:wrapcheck // gRPC's own
	}
	switch r := m.(type) {
	case *pluginv1.HooksResponse:
		answer(s, r.GetResults())
	case *pluginv1.ReviewsResponse:
		// An error is how a review refuses.
		answer(s, unfailing[*pluginv1.ReviewResult](r.GetResults()))
	case *pluginv1.TokensResponse:
		answer(s, r.GetAnswers())
	case *pluginv1.DecisionsResponse:
		answer(s, r.GetAnswers())
	}
	return nil
}

type identified interface{ GetId() uint64 }

type answering interface {
	identified
	GetError() string
}

// harmless is an answer whose error is none of the plugin's.
type harmless struct{ identified }

// GetError implements answering.
func (harmless) GetError() string { return "" }

func unfailing[T identified](results []T) []harmless {
	out := make([]harmless, len(results))
	for i, r := range results {
		out[i] = harmless{r}
	}
	return out
}

func begin[T identified](s *meteredStream, calls []T) {
	if len(calls) == 0 {
		return
	}
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	for _, c := range calls {
		s.began[c.GetId()] = at
	}
}

func answer[T answering](s *meteredStream, results []T) {
	if len(results) == 0 {
		return
	}
	at := time.Now()
	for _, r := range results {
		s.mu.Lock()
		began, ok := s.began[r.GetId()]
		delete(s.began, r.GetId())
		if ok {
			s.answered = at
		}
		s.mu.Unlock()
		if ok {
			s.meter.done(s.method, at.Sub(began), r.GetError() != "")
		}
	}
}

// end counts the calls that will get no answer as failed.
func (s *meteredStream) end() {
	s.mu.Lock()
	left := s.began
	s.began, s.ended = nil, true
	s.mu.Unlock()
	s.meter.mu.Lock()
	delete(s.meter.streams, s)
	s.meter.mu.Unlock()
	for _, began := range left {
		s.meter.done(s.method, time.Since(began), true)
	}
}

// unanswered counts the calls that are older than limit, and says how long there has been
// no answer at all on the stream that is worst.
func (m *meter) unanswered(limit time.Duration) (calls int, silence time.Duration) {
	at := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.streams {
		s.mu.Lock()
		var oldest time.Duration
		for _, began := range s.began {
			if age := at.Sub(began); age > limit {
				calls, oldest = calls+1, max(oldest, age)
			}
		}
		if !s.answered.IsZero() {
			oldest = min(oldest, at.Sub(s.answered))
		}
		s.mu.Unlock()
		silence = max(silence, oldest)
	}
	return calls, silence
}
