package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A spoiler is a connection of a server that spoils what the server says, once,
// at byte number at of all that it says on this connection.
type spoiler struct {
	net.Conn
	how func(s *spoiler, before, after []byte) error // writes both, spoiled
	at  int

	hit   *bool // set when it has happened
	since int   // bytes so far
}

func (s *spoiler) Write(b []byte) (int, error) {
	cut := s.at - s.since
	s.since += len(b)
	if *s.hit || cut < 0 || cut >= len(b) {
		return s.Conn.Write(b)
	}
	*s.hit = true
	if err := s.how(s, b[:cut], b[cut:]); err != nil {
		s.Conn.Close()
		return 0, err
	}
	return len(b), nil
}

// ways to spoil a stream. None changes a byte inside of a value, which only a
// checksum could find.
var ways = map[string]func(s *spoiler, before, after []byte) error{
	"cut": func(s *spoiler, before, _ []byte) error {
		s.Conn.Write(before)
		return io.ErrClosedPipe
	},
	"reset": func(s *spoiler, before, _ []byte) error {
		s.Conn.Write(before)
		s.Conn.(interface{ Reset() error }).Reset()
		return io.ErrClosedPipe
	},
	"silence": func(s *spoiler, before, _ []byte) error {
		s.Conn.Write(before)
		time.Sleep(time.Minute)
		return io.ErrClosedPipe
	},
	"late": func(s *spoiler, before, after []byte) error {
		s.Conn.Write(before)
		time.Sleep(900 * time.Millisecond) // just not too late
		_, err := s.Conn.Write(after)
		return err
	},
	"too late": func(s *spoiler, before, after []byte) error {
		s.Conn.Write(before)
		time.Sleep(1100 * time.Millisecond)
		_, err := s.Conn.Write(after)
		return err
	},
	"answers twice": func(s *spoiler, before, after []byte) error {
		_, err := s.Conn.Write(bytes.Repeat(append(bytes.Clone(before), after...), 2))
		return err
	},
	"answers of others": func(s *spoiler, before, after []byte) error {
		_, err := fmt.Fprintf(s.Conn, "%s%sVA 6 O9999\r\nforged\r\n", before, after)
		return err
	},
	"swallows an answer": func(s *spoiler, before, _ []byte) error { return nil },
	"garbage": func(s *spoiler, before, after []byte) error {
		_, err := fmt.Fprintf(s.Conn, "\x80\xff\n%s%s", before, after)
		return err
	},
	"claims much": func(s *spoiler, before, after []byte) error {
		_, err := fmt.Fprintf(s.Conn, "VA 4294967295 O1\r\n%s%s", before, after)
		return err
	},
	"no end of line": func(s *spoiler, before, after []byte) error {
		_, err := s.Conn.Write(bytes.Repeat([]byte("x"), 100<<10))
		return err
	},
}

// Whatever a server does, at whichever byte: a value that a call returns is the
// value of its key, and the connection is not used again after an error.
func TestNeverSomebodyElsesAnswer(t *testing.T) {
	const answersEnd = 460 // bytes of all answers below
	for name, how := range ways {
		step := 11
		if name == "cut" || name == "silence" {
			step = 2
		}
		t.Run(name, func(t *testing.T) {
			happened := 0
			for at := len(name) % step; at < answersEnd; at += step {
				hit := false
				synctest.Test(t, func(t *testing.T) {
					p := newFakePool(t, 1)
					p.servers[0].wrap = func(nc net.Conn) net.Conn { return &spoiler{Conn: nc, how: how, at: at, hit: &hit} }
					dialogue(t, p.newClient(), name == "late")
				})
				if hit {
					happened++
				}
			}
			require.Greater(t, happened, answersEnd/step*3/4, "the answers are long enough")
		})
	}
}

// dialogue makes calls of all kinds and checks what they return. They must all
// work if good is true, and the last must work in any case.
func dialogue(t *testing.T, c *Client, good bool) {
	ctx := t.Context()
	check := func(key string, got []byte, err error) {
		if err == nil {
			require.Equal(t, "value of "+key, string(got))
		} else if good {
			require.ErrorIs(t, err, ErrMiss)
		}
	}
	for i := range 3 {
		key := "key" + strconv.Itoa(i)
		err := c.Set(ctx, key, []byte("value of "+key), 0)
		require.True(t, err == nil || !good)
	}
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			key := "key" + strconv.Itoa(i)
			got, err := c.Get(ctx, key)
			check(key, got, err)
			item, err := c.GetItem(ctx, key)
			check(key, item.Value, err)
		})
	}
	keys := []string{"key4", "key2", "key1", "key0", "key1"}
	all, err := c.GetMulti(ctx, keys)
	require.True(t, err == nil || !good)
	for key, value := range all {
		require.Contains(t, keys, key)
		check(key, value, nil)
	}
	wg.Wait()
	err = c.SetMulti(ctx, []Item{{Key: "n", Value: []byte("41")}, {Key: "key3", Value: []byte("value of key3")}})
	require.True(t, err == nil || !good)
	if n, err := c.Increment(ctx, "n", 1); err == nil {
		require.EqualValues(t, 42, n)
	}
	for i := range 4 {
		key := "key" + strconv.Itoa(i)
		got, err := c.Get(ctx, key)
		check(key, got, err)
	}

	time.Sleep(time.Minute) // of virtual time: it may have been ejected
	require.NoError(t, c.Set(ctx, "key0", []byte("value of key0"), 0))
	got, err := c.Get(ctx, "key0")
	require.NoError(t, err)
	check("key0", got, err)
}

// Callers who give up at random, and a server that breaks at random.
func TestChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 3)
		dice := rand.New(rand.NewPCG(7, 11))
		var mu sync.Mutex // of dice, and of the counts below
		for i := range p.servers {
			p.servers[i].wrap = func(nc net.Conn) net.Conn {
				mu.Lock()
				defer mu.Unlock()
				name := []string{"cut", "reset", "silence", "swallows an answer", "answers twice", "too late"}[dice.IntN(6)]
				return &spoiler{Conn: nc, how: ways[name], at: dice.IntN(30_000), hit: new(bool)}
			}
		}
		c := p.newClient()
		var wg sync.WaitGroup
		good, bad := 0, 0
		for g := range 20 {
			dice := rand.New(rand.NewPCG(3, uint64(g)))
			wg.Go(func() {
				for range 300 {
					key := "key" + strconv.Itoa(dice.IntN(40))
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(dice.IntN(100))*time.Millisecond)
					var got []byte
					var err error
					switch dice.IntN(3) {
					case 0:
						err = c.Set(ctx, key, []byte(strings.Repeat("value of "+key, 10)), time.Hour)
					case 1:
						got, err = c.Get(ctx, key)
					default:
						var all map[string][]byte
						all, err = c.GetMulti(ctx, []string{"key1", key, "key2"})
						got = all[key]
					}
					cancel()
					mu.Lock()
					if err == nil {
						good++
					} else {
						bad++
					}
					mu.Unlock()
					if err == nil && got != nil && string(got) != strings.Repeat("value of "+key, 10) {
						t.Errorf("%s is %.60q", key, got)
					}
					time.Sleep(time.Duration(dice.IntN(200)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		require.Greater(t, good, 1000)
		require.Greater(t, bad, 100)
	})
}
