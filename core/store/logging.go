package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands Raft's log lines to slog. Raft tells much at its info level that is
// news only to those who debug it.
func raftLogger(log *slog.Logger) hclog.Logger {
	level := hclog.Warn
	if log.Enabled(context.Background(), slog.LevelDebug) {
		level = hclog.Debug
	}
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: level, Output: io.Discard})
	l.RegisterSink(slogSink{log: log, level: level})
	return l
}

type slogSink struct {
	log   *slog.Logger
	level hclog.Level
}

// repeated are what Raft says again and again, as warnings and errors, while another server is
// away or has to catch up. That a server is away is said once by those who look after it.
var repeated = map[string]bool{
	"failed to heartbeat to":                        true,
	"failed to appendEntries to":                    true,
	"failed to contact":                             true,
	"failed to decode incoming command":             true,
	"failed to get previous log":                    true,
	"failed to get log":                             true,
	"failed to make requestVote RPC":                true,
	"appendEntries rejected, sending older logs":    true,
	"Election timeout reached, restarting election": true,
}

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level < s.level {
		return
	}
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	if repeated[msg] {
		if s.level > hclog.Debug {
			return
		}
		to = slog.LevelDebug
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				args[i] = fmt.Sprintf(format, f[1:]...)
			}
		}
	}
	s.log.Log(context.Background(), to, msg, append([]any{"component", name}, args...)...)
}
