package embeddedetcd

import (
	"sync/atomic"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// infoVerbosity hides etcd's chatter by default: some 60 lines per start.
const infoVerbosity = 3

// newZapLogger sends etcd's log to logger. Its warnings and errors show while
// serving is true: at the start they are about being alone, at the stop about
// being stopped, and what matters of them is in the error of the start. Fatal
// messages panic instead of exiting: only main ends the process.
func newZapLogger(logger logr.Logger, serving *atomic.Bool) *zap.Logger {
	core := &logCore{logger: logger.WithName("etcd"), serving: serving}
	return zap.New(core, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// logCore is a zap core that writes to a logr.Logger.
type logCore struct {
	logger  logr.Logger
	serving *atomic.Bool
	fields  []zapcore.Field
}

func (c *logCore) Enabled(level zapcore.Level) bool {
	if level >= zapcore.WarnLevel && c.serving.Load() {
		return true
	}
	return level >= zapcore.InfoLevel && c.logger.V(infoVerbosity).Enabled()
}

func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{logger: c.logger, serving: c.serving, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *logCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *logCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	var values []any
	for _, field := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		field.AddTo(encoder)
		values = append(values, field.Key, encoder.Fields[field.Key])
	}
	switch {
	case !c.serving.Load():
		c.logger.V(infoVerbosity).Info(entry.Message, append(values, "level", entry.Level.String())...)
	case entry.Level >= zapcore.ErrorLevel:
		c.logger.Error(nil, entry.Message, values...)
	case entry.Level == zapcore.WarnLevel:
		c.logger.Info(entry.Message, append(values, "level", "warning")...)
	default:
		c.logger.V(infoVerbosity).Info(entry.Message, values...)
	}
	return nil
}

func (c *logCore) Sync() error { return nil }
