package cache

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testClient is what a client must do on any server. fresh returns a client of
// servers that are empty, and have at least 1 MiB for a value with its key.
func testClient(t *testing.T, fresh func(t *testing.T) *Client) {
	text := func(b []byte, err error) string {
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	t.Run("values", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		_, err := c.Get(ctx, "k")
		require.Equal(t, ErrMiss, err)
		for _, value := range []string{"v", "", "\r\n", "END\r\nVA 2 O1\r\nhi\r\n", strings.Repeat("é\x00", 100_000)} {
			require.NoError(t, c.Set(ctx, "k", []byte(value), 0))
			got, err := c.Get(ctx, "k")
			require.NoError(t, err)
			require.True(t, value == string(got), "%.50q is not %.50q", got, value)
			require.NotNil(t, got)
		}
		for _, key := range []string{"ñandú", strings.Repeat("k", 250), "\xff\xfe"} {
			require.NoError(t, c.Set(ctx, key, []byte(key), time.Minute))
			require.Equal(t, key, text(c.Get(ctx, key)))
		}
		require.NoError(t, c.Delete(ctx, "k"))
		require.Equal(t, ErrMiss, c.Delete(ctx, "k"))
		require.Equal(t, "cache: miss", text(c.Get(ctx, "k")))
		require.EqualValues(t, 2, c.Stats().Misses)
		require.EqualValues(t, 8, c.Stats().Hits)
	})
	t.Run("items", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		_, err := c.GetItem(ctx, "k")
		require.Equal(t, ErrMiss, err)
		require.NoError(t, c.SetItem(ctx, Item{Key: "k", Value: []byte("v"), Flags: 1<<32 - 1, TTL: time.Hour}))
		item, err := c.GetItem(ctx, "k")
		require.NoError(t, err)
		require.NotZero(t, item.CAS)
		require.InDelta(t, 3600, item.TTL.Seconds(), 60)
		item.TTL, item.CAS = 0, 0
		require.Equal(t, Item{Key: "k", Value: []byte("v"), Flags: 1<<32 - 1}, item)

		for _, test := range []struct{ set, min, max time.Duration }{
			{0, 0, 0},
			{time.Nanosecond, time.Second, time.Second},
			{1<<63 - 1, 0, 0},
			{40 * 24 * time.Hour, 40*24*time.Hour - time.Minute, 40*24*time.Hour + time.Minute},
		} {
			require.NoError(t, c.Set(ctx, "t", []byte("v"), test.set))
			item, err := c.GetItem(ctx, "t")
			if test.set == time.Nanosecond && err == ErrMiss {
				continue // the server's second was over just then
			}
			require.NoError(t, err)
			require.GreaterOrEqual(t, item.TTL, test.min)
			require.LessOrEqual(t, item.TTL, test.max)
		}
		require.NoError(t, c.Touch(ctx, "t", time.Hour))
		item, err = c.GetItem(ctx, "t")
		require.NoError(t, err)
		require.InDelta(t, 3600, item.TTL.Seconds(), 60)
		require.NoError(t, c.Touch(ctx, "t", 0))
		item, err = c.GetItem(ctx, "t")
		require.NoError(t, err)
		require.Zero(t, item.TTL)
		require.NoError(t, c.Touch(ctx, "t", -1))
		require.Equal(t, ErrMiss, c.Touch(ctx, "t", time.Hour))
		require.NoError(t, c.Set(ctx, "t", []byte("v"), -time.Second))
		require.Equal(t, "cache: miss", text(c.Get(ctx, "t")))
	})
	t.Run("conditions", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		one, two := Item{Key: "k", Value: []byte("1")}, Item{Key: "k", Value: []byte("2")}
		require.Equal(t, ErrNotStored, c.Replace(ctx, one))
		require.Equal(t, ErrNotStored, c.Append(ctx, "k", []byte("x")))
		require.Equal(t, ErrNotStored, c.Prepend(ctx, "k", []byte("x")))
		require.Equal(t, ErrMiss, c.CompareAndSwap(ctx, Item{Key: "k", CAS: 7}))
		require.ErrorIs(t, c.CompareAndSwap(ctx, Item{Key: "k"}), ErrConflict)
		require.NoError(t, c.Add(ctx, one))
		require.Equal(t, ErrNotStored, c.Add(ctx, two))
		require.Equal(t, "1", text(c.Get(ctx, "k")))
		require.NoError(t, c.Replace(ctx, two))
		require.NoError(t, c.Append(ctx, "k", []byte("3")))
		require.NoError(t, c.Prepend(ctx, "k", []byte("1")))
		require.Equal(t, "123", text(c.Get(ctx, "k")))

		item, err := c.GetItem(ctx, "k")
		require.NoError(t, err)
		item.Value = []byte("mine")
		require.NoError(t, c.Set(ctx, "k", []byte("theirs"), 0))
		require.Equal(t, ErrConflict, c.CompareAndSwap(ctx, item))
		require.Equal(t, "theirs", text(c.Get(ctx, "k")))
		item, err = c.GetItem(ctx, "k")
		require.NoError(t, err)
		item.Value = []byte("mine")
		require.NoError(t, c.CompareAndSwap(ctx, item))
		require.Equal(t, "mine", text(c.Get(ctx, "k")))
	})
	t.Run("numbers", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		_, err := c.Increment(ctx, "n", 1)
		require.Equal(t, ErrMiss, err)
		require.NoError(t, c.Set(ctx, "n", []byte("18446744073709551614"), 0))
		for _, want := range []uint64{1<<64 - 1, 0, 1} {
			n, err := c.Increment(ctx, "n", 1)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		n, err := c.Decrement(ctx, "n", 5)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, c.Set(ctx, "n", []byte("100"), 0))
		n, err = c.Decrement(ctx, "n", 1)
		require.NoError(t, err)
		require.EqualValues(t, 99, n)
		require.NoError(t, c.Set(ctx, "n", []byte("cinco"), 0))
		_, err = c.Increment(ctx, "n", 1)
		reply, ok := errors.AsType[*ReplyError](err)
		require.True(t, ok, err)
		require.Equal(t, replyClientError+notANumber, reply.Reply)
		require.Equal(t, "cinco", text(c.Get(ctx, "n")))
	})
	t.Run("many", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		none, err := c.GetMulti(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, none)
		require.NoError(t, c.SetMulti(ctx, nil))

		var items []Item
		var keys []string
		for i := range 1000 {
			key := "key:" + strconv.Itoa(i)
			keys = append(keys, key, key+"?")
			items = append(items, Item{Key: key, Value: bytes.Repeat([]byte(key), i%50), Flags: uint32(i), TTL: time.Hour})
		}
		require.NoError(t, c.SetMulti(ctx, items))
		keys = append(keys, keys[0], "key:999", "key:999")
		got, err := c.GetMulti(ctx, keys)
		require.NoError(t, err)
		require.Len(t, got, 1000)
		for _, item := range items {
			require.Equal(t, string(item.Value), string(got[item.Key]))
		}
		one, err := c.GetItem(ctx, "key:77")
		require.NoError(t, err)
		require.EqualValues(t, 77, one.Flags)
		require.NotZero(t, one.TTL)

		require.ErrorIs(t, c.SetMulti(ctx, []Item{{Key: "a"}, {Key: "b c"}}), ErrKey)
		_, err = c.GetMulti(ctx, []string{"key:1", ""})
		require.ErrorIs(t, err, ErrKey)
		require.Equal(t, "cache: miss", text(c.Get(ctx, "a")), "nothing is sent if a key is bad")
	})
	t.Run("refused", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		for _, key := range []string{"", " ", "a b", "a\r\nflush_all", "a\x00", "\x7f", strings.Repeat("k", 251)} {
			_, err := c.Get(ctx, key)
			require.ErrorIs(t, err, ErrKey)
			require.ErrorIs(t, c.Set(ctx, key, nil, 0), ErrKey)
			require.ErrorIs(t, c.Delete(ctx, key), ErrKey)
		}
		require.ErrorIs(t, c.Set(ctx, "k", make([]byte, 1<<20+1), 0), ErrTooLarge)
		require.ErrorIs(t, c.SetMulti(ctx, []Item{{Key: "k", Value: make([]byte, 1<<20+1)}}), ErrTooLarge)
		require.Zero(t, c.Stats().Dials, "all that is refused here")

		// With its key and more it is too large for the server.
		big := make([]byte, 1<<20)
		err := c.Set(ctx, "k", big, 0)
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorAs(t, err, new(*ReplyError))
		err = c.SetMulti(ctx, []Item{{Key: "a", Value: []byte("1")}, {Key: "k", Value: big}, {Key: "b", Value: []byte("2")}})
		require.ErrorIs(t, err, ErrTooLarge)
		require.Contains(t, err.Error(), `"k"`)
		require.Equal(t, "1", text(c.Get(ctx, "a")))
		require.Equal(t, "2", text(c.Get(ctx, "b")))
		require.EqualValues(t, c.Stats().Dials, c.Stats().Conns, "none had to be closed")
	})
	t.Run("at once", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		var wg sync.WaitGroup
		for g := range 32 {
			wg.Go(func() {
				for i := range 30 {
					key := fmt.Sprintf("key:%d:%d", g, i%7)
					value := strings.Repeat(key, i*g)
					if err := c.Set(ctx, key, []byte(value), time.Minute); err != nil {
						t.Errorf("%v", err)
					}
					if got := text(c.Get(ctx, key)); got != value {
						t.Errorf("%s has %.60q and not %.60q", key, got, value)
					}
					got, err := c.GetMulti(ctx, []string{"none", key, "key:1:2"})
					if err != nil || string(got[key]) != value || !strings.HasPrefix(string(got["key:1:2"])+"key:1:2", "key:1:2") {
						t.Errorf("%.60q, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, c.Stats().Dials, uint64(2*len(c.Servers)))
	})
	t.Run("everywhere", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		require.NoError(t, c.Set(ctx, "k", []byte("v"), 0))
		stats, err := c.ServerStats(ctx, "")
		require.NoError(t, err)
		require.Len(t, stats, len(c.Servers))
		items := 0
		for _, one := range stats {
			n, err := strconv.Atoi(one["curr_items"])
			require.NoError(t, err)
			items += n
		}
		require.Equal(t, 1, items)
		_, err = c.ServerStats(ctx, "a\r\nflush_all")
		require.Error(t, err)
		require.Equal(t, "v", text(c.Get(ctx, "k")))
		require.NoError(t, c.FlushAll(ctx))
		require.Equal(t, "cache: miss", text(c.Get(ctx, "k")))
	})
	t.Run("closed", func(t *testing.T) {
		c, ctx := fresh(t), t.Context()
		require.NoError(t, c.Set(ctx, "k", nil, 0))
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err := c.Get(ctx, "k")
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, c.Set(ctx, "k", nil, 0), net.ErrClosed)
		_, err = c.GetMulti(ctx, []string{"k"})
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, c.FlushAll(ctx), net.ErrClosed)
		require.Zero(t, c.Stats().Conns)
	})
}
