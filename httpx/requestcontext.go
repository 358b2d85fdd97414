package httpx

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A requestContext is the context of a request. To see that a client has gone
// somebody must read from its connection while the handler works. That costs a
// goroutine, so it is done only from when the handler asks for Done or Err.
type requestContext struct {
	c    *conn
	body *body // nil if there is none

	mu     sync.Mutex
	inner  context.Context // made when it is asked for
	cancel context.CancelFunc
	ended  bool // the handler has returned
}

// Deadline implements [context.Context].
func (rc *requestContext) Deadline() (time.Time, bool) { return rc.c.ctx.Deadline() }

// Done implements [context.Context].
func (rc *requestContext) Done() <-chan struct{} { return rc.observed().Done() }

// Err implements [context.Context].
func (rc *requestContext) Err() error { return rc.observed().Err() }

// Value implements [context.Context]. It is the inner one's, so that contexts
// derived from this one are joined to it without a goroutine.
func (rc *requestContext) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return rc.c.srv.identity
	case http.LocalAddrContextKey:
		return rc.c.nc.LocalAddr()
	}
	rc.mu.Lock()
	inner := rc.inner
	rc.mu.Unlock()
	if inner == nil {
		inner = rc.c.ctx
	}
	return inner.Value(key)
}

// observed returns the inner context, and begins to watch the connection.
func (rc *requestContext) observed() context.Context {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.inner == nil {
		rc.inner, rc.cancel = context.WithCancel(rc.c.ctx)
		if rc.ended {
			rc.cancel()
		} else if rc.body == nil || rc.body.whole.Load() {
			rc.c.watch(rc.cancel)
		}
	}
	return rc.inner
}

// bodyEnded begins to watch now that nobody reads from the connection any more.
func (rc *requestContext) bodyEnded() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.inner != nil && !rc.ended {
		rc.c.watch(rc.cancel)
	}
}

// end ends the context and the watcher.
func (rc *requestContext) end() {
	rc.mu.Lock()
	rc.ended = true
	if rc.cancel != nil {
		rc.cancel()
	}
	rc.mu.Unlock()
	rc.c.unwatch()
}
