package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/mq"
)

// requestReply: clients ask, a proxy passes their questions on to the workers
// in turn, and the answers back.
func (l *lab) requestReply(ctx context.Context) error {
	return l.try(ctx, "Request and reply", func(ctx context.Context) ([]part, func() error, error) {
		s, err := l.open(mq.ROUTER, mq.DEALER, mq.REQ, mq.REQ, mq.REQ, mq.REP, mq.REP)
		if err != nil {
			return nil, nil, err
		}
		front, back, clients, workers := s[0], s[1], s[2:5], s[5:]
		in, out, err := l.endpoints()
		if err != nil {
			return nil, nil, err
		}
		parts := []part{l.proxy(ctx, front, in, back, out)}
		columns := [][]string{nil, {"ROUTER ═ DEALER"}, nil}
		for i, s := range clients {
			columns[0] = append(columns[0], fmt.Sprintf("client %d (REQ)", i+1))
			parts = append(parts, part{fmt.Sprintf("client %d", i+1), func() error {
				l.work(func() error {
					if err := until(ctx, back, len(workers), connected); err != nil {
						return err
					}
					return ask(ctx, s, l.n)
				})
				return s.Connect(in)
			}})
		}
		for i, s := range workers {
			columns[2] = append(columns[2], fmt.Sprintf("worker %d (REP)", i+1))
			parts = append(parts, part{fmt.Sprintf("worker %d", i+1), func() error {
				l.serve(ctx, func() error { return answer(ctx, s) })
				return s.Connect(out)
			}})
		}
		return parts, func() error {
			gaps := make([][]edge, 2)
			for _, s := range clients {
				gaps[0] = append(gaps[0], traffic(s, in))
			}
			for _, s := range workers {
				gaps[1] = append(gaps[1], traffic(s, out).flipped())
			}
			return l.show(columns, gaps, 3*l.n, 3*l.n)
		}, nil
	})
}

// proxy is the part between two bound sockets.
func (l *lab) proxy(ctx context.Context, front *mq.Socket, in string, back *mq.Socket, out string) part {
	return part{"proxy", func() error {
		if err := bind(ctx, front, in); err != nil {
			return err
		}
		if err := bind(ctx, back, out); err != nil {
			return err
		}
		l.serve(ctx, func() error { return mq.Proxy(ctx, front, back, nil) })
		return nil
	}}
}

// ask asks n questions, each after the answer to the one before.
func ask(ctx context.Context, s *mq.Socket, n int) error {
	for i := range n {
		question := fmt.Sprintf("question %d", i)
		if err := s.Send(ctx, []byte(question)); err != nil {
			return err
		}
		reply, err := s.Recv(ctx)
		if err != nil {
			return err
		}
		if string(reply[0]) != "answer to "+question {
			return fmt.Errorf("the answer to %q is %v", question, reply)
		}
	}
	return nil
}

// answer answers all questions.
func answer(ctx context.Context, s *mq.Socket) error {
	for question, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.Send(ctx, append([]byte("answer to "), question[0]...)); err != nil {
			return err
		}
	}
	return nil
}

// publish: what is published goes through a proxy to whoever asked for it. The
// proxy passes subscriptions on, so that what nobody wants does not even reach it.
func (l *lab) publish(ctx context.Context) error {
	return l.try(ctx, "Publish and subscribe", func(ctx context.Context) ([]part, func() error, error) {
		// As XPUBs, the publishers see who is there before they begin.
		s, err := l.open(mq.XSUB, mq.XPUB, mq.XPUB, mq.XPUB, mq.SUB, mq.SUB, mq.SUB)
		if err != nil {
			return nil, nil, err
		}
		front, back, publishers, subscribers := s[0], s[1], s[2:4], s[4:]
		in, out, err := l.endpoints()
		if err != nil {
			return nil, nil, err
		}
		wanted := []string{"news", "news", "sports"}
		topics := []string{"news", "sports", "weather"}
		parts := []part{l.proxy(ctx, front, in, back, out)}
		columns := [][]string{nil, {"XSUB ═ XPUB"}, nil}
		for i, s := range publishers {
			columns[0] = append(columns[0], fmt.Sprintf("publisher %d (XPUB)", i+1))
			parts = append(parts, part{fmt.Sprintf("publisher %d", i+1), func() error {
				l.work(func() error {
					// News and sports, each told only once however many want them,
					// and the names of the subscribers: then all are there.
					if _, err := take(ctx, s, 2+len(subscribers)); err != nil {
						return err
					}
					for range l.n {
						for _, topic := range topics {
							if err := s.Send(ctx, []byte(topic)); err != nil {
								return err
							}
						}
					}
					return nil
				})
				return s.Connect(in)
			}})
		}
		for i, s := range subscribers {
			columns[2] = append(columns[2], fmt.Sprintf("%s (SUB)", wanted[i]))
			parts = append(parts, part{fmt.Sprintf("subscriber %d", i+1), func() error {
				for _, topic := range []string{wanted[i], fmt.Sprintf("subscriber %d", i+1)} {
					if err := s.Subscribe(topic); err != nil {
						return err
					}
				}
				l.work(func() error { _, err := take(ctx, s, len(publishers)*l.n); return err })
				return s.Connect(out)
			}})
		}
		return parts, func() error {
			gaps := make([][]edge, 2)
			for _, s := range publishers {
				gaps[0] = append(gaps[0], edge{right: traffic(s, in).right})
			}
			for _, s := range subscribers {
				gaps[1] = append(gaps[1], edge{right: traffic(s, out).left})
			}
			return l.show(columns, gaps, 4*l.n, 6*l.n)
		}, nil
	})
}

// take receives n messages.
func take(ctx context.Context, s *mq.Socket, n int) (list []mq.Msg, err error) {
	for range n {
		msg, err := s.Recv(ctx)
		if err != nil {
			return list, err
		}
		list = append(list, msg)
	}
	return list, nil
}

// pipeline: work is dealt out to workers in turn, their results come together.
func (l *lab) pipeline(ctx context.Context) error {
	return l.try(ctx, "Pipeline", func(ctx context.Context) ([]part, func() error, error) {
		s, err := l.open(mq.PUSH, mq.PULL, mq.PULL, mq.PUSH, mq.PULL, mq.PUSH, mq.PULL, mq.PUSH)
		if err != nil {
			return nil, nil, err
		}
		source, sink, workers := s[0], s[1], s[2:]
		var in [3]string // of the workers: the source connects to each
		for i := range in {
			if in[i], err = l.endpoint(l.transport); err != nil {
				return nil, nil, err
			}
		}
		out, err := l.endpoint(l.transport)
		if err != nil {
			return nil, nil, err
		}
		columns := [][]string{{"source (PUSH)"}, nil, {"sink (PULL)"}}
		parts := []part{
			{"source", func() error {
				for _, endpoint := range in {
					if err := source.Connect(endpoint); err != nil {
						return err
					}
				}
				l.work(func() error {
					for i := range 3 * l.n {
						if err := source.Send(ctx, fmt.Appendf(nil, "task %d", i)); err != nil {
							return err
						}
					}
					return nil
				})
				return nil
			}},
			{"sink", func() error {
				l.work(func() error { _, err := take(ctx, sink, 3*l.n); return err })
				return bind(ctx, sink, out)
			}},
		}
		for i := range in {
			pull, push := workers[2*i], workers[2*i+1]
			columns[1] = append(columns[1], fmt.Sprintf("worker %d (PULL, PUSH)", i+1))
			parts = append(parts, part{fmt.Sprintf("worker %d", i+1), func() error {
				if err := push.Connect(out); err != nil {
					return err
				}
				l.serve(ctx, func() error { return mq.Proxy(ctx, pull, push, nil) })
				return bind(ctx, pull, in[i])
			}})
		}
		return parts, func() error {
			gaps := make([][]edge, 2)
			for i := range in {
				gaps[0] = append(gaps[0], traffic(source, in[i]))
				gaps[1] = append(gaps[1], traffic(workers[2*i+1], out))
			}
			return l.show(columns, gaps, 3*l.n, 3*l.n)
		}, nil
	})
}

// pair: two goroutines, and nobody else.
func (l *lab) pair(ctx context.Context) error {
	l.transport = "inproc"
	return l.try(ctx, "A pair of goroutines", func(ctx context.Context) ([]part, func() error, error) {
		s, err := l.open(mq.PAIR, mq.PAIR)
		if err != nil {
			return nil, nil, err
		}
		endpoint, err := l.endpoint(l.transport)
		if err != nil {
			return nil, nil, err
		}
		parts := []part{
			{"asking", func() error {
				l.work(func() error { return ask(ctx, s[0], l.n) })
				return s[0].Connect(endpoint)
			}},
			{"answering", func() error {
				l.serve(ctx, func() error { return answer(ctx, s[1]) })
				return bind(ctx, s[1], endpoint)
			}},
		}
		return parts, func() error {
			return l.show([][]string{{"PAIR"}, {"PAIR"}}, [][]edge{{traffic(s[0], endpoint)}}, l.n)
		}, nil
	})
}

// mixed: one socket is bound to three endpoints and connected to a fourth, over
// three transports, and takes from all in turn.
func (l *lab) mixed(ctx context.Context) error {
	l.transport = "tcp, ipc and inproc at once"
	return l.try(ctx, "Fair queueing", func(ctx context.Context) ([]part, func() error, error) {
		s, err := l.open(mq.PULL, mq.PUSH, mq.PUSH, mq.PUSH, mq.PUSH)
		if err != nil {
			return nil, nil, err
		}
		sink, sources := s[0], s[1:]
		transports := []string{"tcp", "ipc", "inproc", "tcp"}
		const bound = 3 // the first ones are bound by the sink, the last by its source
		endpoints := make([]string, len(transports))
		columns := [][]string{nil, {"PULL"}}
		for i, transport := range transports {
			if endpoints[i], err = l.endpoint(transport); err != nil {
				return nil, nil, err
			}
			who := "bound"
			if i >= bound {
				who = "connected"
			}
			columns[0] = append(columns[0], fmt.Sprintf("%c (PUSH), %s %s by the sink", 'A'+i, transport, who))
		}
		// The first one is eager: it has as much to say as the others together.
		amounts := []int{3 * l.n, l.n, l.n, l.n}
		var order strings.Builder
		parts := []part{{"sink", func() error {
			for i, endpoint := range endpoints {
				var err error
				if i < bound {
					err = bind(ctx, sink, endpoint)
				} else {
					err = sink.Connect(endpoint)
				}
				if err != nil {
					return err
				}
			}
			l.work(func() error {
				// It begins when everybody has said something.
				some := func(p mq.PeerStats) bool { return p.Waiting >= min(l.n, 100) }
				if err := until(ctx, sink, len(sources), some); err != nil {
					return err
				}
				messages, err := take(ctx, sink, 6*l.n)
				for _, msg := range messages {
					order.Write(msg[0])
				}
				return err
			})
			return nil
		}}}
		for i, s := range sources {
			parts = append(parts, part{fmt.Sprintf("%c", 'A'+i), func() error {
				l.work(func() error {
					for range amounts[i] {
						if err := s.Send(ctx, []byte{byte('A' + i)}); err != nil {
							return err
						}
					}
					return nil
				})
				if i < bound {
					return s.Connect(endpoints[i])
				}
				return bind(ctx, s, endpoints[i])
			}})
		}
		return parts, func() error {
			var gap []edge
			for _, endpoint := range endpoints {
				gap = append(gap, traffic(sink, endpoint).flipped())
			}
			if err := l.show(columns, [][]edge{gap}, 6*l.n); err != nil {
				return err
			}
			_, err := fmt.Fprintf(l.out, "in the order %.72s\n", order.String())
			return err
		}, nil
	})
}

// until waits until s has n peers that are all as they should be.
func until(ctx context.Context, s *mq.Socket, n int, ready func(mq.PeerStats) bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		count := 0
		for _, p := range s.Stats().Peers {
			if ready(p) {
				count++
			}
		}
		if count == n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func connected(p mq.PeerStats) bool { return p.Connected }

// show draws a topology. In each gap, so many messages must have gone to the
// right, and none or as many to the left.
func (l *lab) show(columns [][]string, gaps [][]edge, want ...int) error {
	if err := draw(l.out, columns, gaps); err != nil {
		return err
	}
	for i, gap := range gaps {
		var sum edge
		for _, e := range gap {
			sum.right += e.right
			sum.left += e.left
		}
		if sum.right != uint64(want[i]) || sum.left != 0 && sum.left != sum.right {
			return fmt.Errorf("%d messages went to the right and %d to the left, where %d should have", sum.right, sum.left, want[i])
		}
	}
	return nil
}
