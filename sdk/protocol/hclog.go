package protocol

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// HCLog gives go-plugin, which logs through hclog, a logger that ends in log. Messages
// below level are dropped.
func HCLog(log *slog.Logger, level hclog.Level) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name: "go-plugin", Level: level, Output: io.Discard,
	})
	l.RegisterSink(&slogSink{log: log, level: level})
	return l
}

type slogSink struct {
	log   *slog.Logger
	level hclog.Level
}

// Accept implements hclog.SinkAdapter.
func (s *slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	if level < s.level {
		return
	}
	to := slog.LevelDebug
	switch level {
	case hclog.Error:
		to = slog.LevelError
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Info:
		to = slog.LevelInfo
	default:
	}
	s.log.Log(context.Background(), to, msg, args...)
}
