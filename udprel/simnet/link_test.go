package simnet_test

import (
	"errors"
	"flag"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// offer sends count packets of size bytes, one every gap, and lets all arrive.
func offer(m *simnet.Model, count, size int, gap time.Duration) (fates []simnet.Fate) {
	for i := range count {
		f := m.Send(time.Duration(i)*gap, size)
		fates = append(fates, f)
		if f.Drop == "" {
			m.Arrive()
		}
		if f.Copy {
			m.Arrive()
		}
	}
	return fates
}

// checkSum tests that every packet and copy is accounted for.
func checkSum(t testing.TB, s simnet.Stats) {
	t.Helper()
	require.Equal(t, s.Packets+s.Duplicated, s.Delivered+s.Lost+s.TailDropped+s.TooBig+s.Blocked, "%+v", s)
}

func TestPerfectLink(t *testing.T) {
	m := simnet.NewModel(simnet.Link{}, 1, 2)
	for i, f := range offer(m, 1000, 1500, time.Microsecond) {
		at := time.Duration(i) * time.Microsecond
		require.Equal(t, simnet.Fate{Leave: at, Arrive: at}, f)
	}
	require.Equal(t, simnet.Stats{Packets: 1000, Bytes: 1_500_000, Delivered: 1000}, m.Stats())
}

// TestLossShare compares the share of losses and their runs with what Gilbert's
// model promises.
func TestLossShare(t *testing.T) {
	const count = 400_000
	for _, c := range []struct{ loss, burst, run float64 }{
		{0.02, 0, 1 / 0.98},
		{0.3, 1, 1 / 0.7},
		{0.02, 8, 8},
		{0.2, 3, 3},
		{0.9, 20, 20},
		{0.9, 2, 9}, // a loss of 90% needs runs of nine
	} {
		m := simnet.NewModel(simnet.Link{Loss: c.loss, Burst: c.burst}, 42, 0)
		losses, runs, before := 0, 0, false
		for _, f := range offer(m, count, 100, time.Millisecond) {
			lost := f.Drop == simnet.DropLoss
			if lost {
				losses++
				if !before {
					runs++
				}
			}
			before = lost
		}
		require.InEpsilon(t, c.loss, float64(losses)/count, 0.06, "loss of %+v", c)
		require.InEpsilon(t, c.run, float64(losses)/float64(runs), 0.05, "run of %+v", c)
		require.EqualValues(t, losses, m.Stats().Lost)
		checkSum(t, m.Stats())
	}
	all := simnet.NewModel(simnet.Link{Loss: 1, Burst: 5}, 1, 1)
	offer(all, 1000, 100, 0)
	require.EqualValues(t, 1000, all.Stats().Lost)
}

func TestDuplicateAndReorder(t *testing.T) {
	const count = 200_000
	m := simnet.NewModel(simnet.Link{Delay: 10 * time.Millisecond, Duplicate: 0.1, Reorder: 0.05, ReorderBy: 3 * time.Millisecond}, 3, 4)
	overtaken, latest := 0, time.Duration(0)
	for i, f := range offer(m, count, 100, time.Millisecond) {
		plain := time.Duration(i)*time.Millisecond + 10*time.Millisecond
		if f.Late {
			require.Equal(t, plain+3*time.Millisecond, f.Arrive)
		} else {
			require.Equal(t, plain, f.Arrive)
		}
		if f.Arrive < latest {
			overtaken++
		}
		latest = max(latest, f.Arrive)
	}
	s := m.Stats()
	require.InEpsilon(t, 0.1, float64(s.Duplicated)/count, 0.05)
	require.InEpsilon(t, 0.05, float64(s.Reordered)/count, 0.05)
	// Each that is held back is overtaken by the next two; what those two do
	// counts once more only if they were not held back themselves.
	require.InEpsilon(t, 0.05*2*0.95, float64(overtaken)/count, 0.1)
	checkSum(t, s)
}

// TestJitterKeepsOrder shows that jitter alone never lets a packet overtake.
func TestJitterKeepsOrder(t *testing.T) {
	m := simnet.NewModel(simnet.Link{Delay: time.Millisecond, Jitter: 5 * time.Millisecond}, 3, 4)
	last, least, most := time.Duration(0), time.Hour, time.Duration(0)
	for i, f := range offer(m, 100_000, 100, 10*time.Millisecond) {
		require.GreaterOrEqual(t, f.Arrive, last)
		last = f.Arrive
		way := f.Arrive - time.Duration(i)*10*time.Millisecond
		least, most = min(least, way), max(most, way)
	}
	require.InDelta(t, 1e6, float64(least), 1e4)
	require.InDelta(t, 6e6, float64(most), 1e4)
	m = simnet.NewModel(simnet.Link{Jitter: 5 * time.Millisecond}, 3, 4)
	last = 0
	for _, f := range offer(m, 10_000, 100, time.Microsecond) {
		require.GreaterOrEqual(t, f.Arrive, last)
		last = f.Arrive
	}
}

// TestRateExact checks that many packets take exactly as long as their bits at
// the rate, also where one packet takes no whole number of nanoseconds.
func TestRateExact(t *testing.T) {
	for _, rate := range []int64{1, 56_000, 7_000_000, 100_000_000, 999_999_937} {
		m := simnet.NewModel(simnet.Link{Rate: rate, Queue: 1 << 30}, 0, 0)
		count, size := 200_000, 1237
		if rate == 1 {
			count = 10
		}
		fates := offer(m, count, size, 0)
		want := float64(count) * float64(size) * 8e9 / float64(rate)
		require.InDelta(t, want, float64(fates[count-1].Leave), 1, "at %d bit/s", rate)
	}
}

// TestQueueExact checks the bound of the queue to the byte.
func TestQueueExact(t *testing.T) {
	// 8 Mbit/s is a byte per microsecond.
	m := simnet.NewModel(simnet.Link{Rate: 8_000_000, Queue: 5000}, 0, 0)
	for i := range 5 {
		f := m.Send(0, 1000)
		require.Empty(t, f.Drop)
		require.Equal(t, time.Duration(i+1)*time.Millisecond, f.Leave)
	}
	require.Equal(t, simnet.DropQueue, m.Send(0, 1).Drop, "full")
	require.Equal(t, simnet.DropQueue, m.Send(time.Millisecond-1, 1000).Drop, "the first has not left")
	require.Empty(t, m.Send(time.Millisecond, 1000).Drop, "the first has left")
	require.Equal(t, simnet.DropQueue, m.Send(time.Millisecond+99*time.Microsecond, 100).Drop)
	require.Empty(t, m.Send(time.Millisecond+100*time.Microsecond, 100).Drop)
	s := m.Stats()
	require.EqualValues(t, 3, s.TailDropped)
	require.Equal(t, 5*time.Millisecond, s.QueueDelayMax.Round(time.Millisecond))
	require.Equal(t, time.Duration(0+1+2+3+4+4)*time.Millisecond+4900*time.Microsecond, s.QueueDelay)

	// An idle link takes what is larger than its queue; a busy one does not.
	m = simnet.NewModel(simnet.Link{Rate: 8_000_000, Queue: 1}, 0, 0)
	require.Empty(t, m.Send(0, 1500).Drop)
	require.Equal(t, simnet.DropQueue, m.Send(0, 1500).Drop)
	require.Empty(t, m.Send(1500*time.Microsecond, 1500).Drop)
}

func TestQueueDefault(t *testing.T) {
	count := func(rate int64) (n int) {
		m := simnet.NewModel(simnet.Link{Rate: rate}, 0, 0)
		for m.Send(0, 1000).Drop == "" {
			n++
		}
		return n
	}
	require.Equal(t, 1250, count(100_000_000), "100 ms of 100 Mbit/s")
	require.Equal(t, 65, count(1_000_000), "64 KiB")
}

// TestRoom checks that a sender who asks for room finds it, and leaves half.
func TestRoom(t *testing.T) {
	m := simnet.NewModel(simnet.Link{Rate: 8_000_000, Queue: 10_000}, 0, 0)
	now := time.Duration(0)
	for range 100 {
		now = m.Room(now, 1000)
		require.Empty(t, m.Send(now, 1000).Drop)
	}
	require.EqualValues(t, 4*time.Millisecond, m.Stats().QueueDelayMax)
	require.Empty(t, m.Send(now, 5000).Drop, "the other half is free")
}

func TestMTUAndDown(t *testing.T) {
	m := simnet.NewModel(simnet.Link{MTU: 1400}, 0, 0)
	require.Empty(t, m.Send(0, 1400).Drop)
	require.Equal(t, simnet.DropMTU, m.Send(0, 1401).Drop)
	m.SetLink(simnet.Link{Down: true})
	require.Equal(t, simnet.DropDown, m.Send(0, 1400).Drop)
	require.False(t, m.Arrive(), "the first was still on its way")
	s := m.Stats()
	require.Equal(t, simnet.Stats{Packets: 3, Bytes: 4201, TooBig: 1, Blocked: 2}, s)
	checkSum(t, s)
}

// TestKnobsOutOfRange shows that nonsense counts as the nearest sense.
func TestKnobsOutOfRange(t *testing.T) {
	m := simnet.NewModel(simnet.Link{
		Delay: -1, Jitter: -1, Loss: math.NaN(), Burst: math.Inf(-1), Duplicate: -3, Reorder: math.Inf(-1),
		ReorderBy: -1, Rate: -1, Queue: -1, MTU: -1,
	}, 0, 0)
	require.Equal(t, simnet.Fate{Leave: 5, Arrive: 5}, m.Send(5, -7))
	m = simnet.NewModel(simnet.Link{Delay: math.MaxInt64, Jitter: math.MaxInt64, Reorder: 7, ReorderBy: math.MaxInt64, Rate: 1, Queue: math.MaxInt}, 0, 0)
	f := m.Send(math.MaxInt64, math.MaxInt)
	require.Empty(t, f.Drop)
	require.Positive(t, f.Arrive)
}

func TestParseLink(t *testing.T) {
	l, err := simnet.ParseLink(" rate=20mbit, queue=100kb,delay=40ms,jitter=1.5ms,loss=2%,burst=8,dup=0.01,reorder=5%,reorderby=3ms,mtu=1400,down ")
	require.NoError(t, err)
	want := simnet.Link{
		Rate: 20_000_000, Queue: 100_000, Delay: 40 * time.Millisecond, Jitter: 1500 * time.Microsecond, Loss: 0.02,
		Burst: 8, Duplicate: 0.01, Reorder: 0.05, ReorderBy: 3 * time.Millisecond, MTU: 1400, Down: true,
	}
	require.Equal(t, want, l)
	require.Equal(t, "rate=20mbit,queue=100kb,delay=40ms,jitter=1.5ms,loss=2%,burst=8,dup=1%,reorder=5%,reorderby=3ms,mtu=1400,down", l.String())
	for text, want := range map[string]simnet.Link{
		"": {}, "rate=1.5Mbit": {Rate: 1_500_000}, "rate=9600": {Rate: 9600}, "rate=1gbit": {Rate: 1e9},
		"queue=64KiB": {Queue: 65536}, "queue=1mib": {Queue: 1 << 20}, "loss=1": {Loss: 1}, "loss=0.125%": {Loss: 0.00125},
	} {
		l, err := simnet.ParseLink(text)
		require.NoError(t, err, text)
		require.Equal(t, want, l, text)
	}
	for _, text := range []string{
		",", "rate", "rate=", "rate=-1", "rate=NaN", "rate=1e300", "rate=99999999999gbit", "rate=9223372036854775808", "rate=1 tbit", "queue=2000mib", "delay=40",
		"delay=-1s", "delay=9000h", "loss=2", "loss=-1%", "loss=NaN", "loss=101%", "burst=-1", "burst=NaN", "down=1", "down=",
		"mtu=x", "speed=1", "delay=1s,delay=1s",
	} {
		l, err := simnet.ParseLink(text)
		parse, ok := errors.AsType[*simnet.ParseError](err)
		require.True(t, ok, "%q gave %v, %v", text, l, err)
		require.NotEmpty(t, parse.Reason)
		require.Zero(t, l)
	}
}

func TestLinkIsAFlag(t *testing.T) {
	var l simnet.Link
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.TextVar(&l, "link", simnet.Link{Delay: time.Second}, "the `link`")
	require.NoError(t, flags.Parse(nil))
	require.Equal(t, simnet.Link{Delay: time.Second}, l)
	require.NoError(t, flags.Parse([]string{"-link", "loss=2%"}))
	require.Equal(t, simnet.Link{Loss: 0.02}, l)
	require.Error(t, l.UnmarshalText([]byte("loss=200%")))
	require.Equal(t, simnet.Link{Loss: 0.02}, l)
}

func FuzzParseLink(f *testing.F) {
	for _, s := range []string{
		"", "down", "rate=20mbit,queue=100kb,delay=40ms,loss=2%,burst=8", "rate=1.5gbit,mtu=1400,down", "loss=0.1234567%,dup=1e-7",
		"jitter=1h2m3.5s,reorder=33.3%,reorderby=1ns", "queue=1mib,burst=1e-9", "rate=9223372036854775807", "delay=,,=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := simnet.ParseLink(text)
		if err != nil {
			if _, ok := errors.AsType[*simnet.ParseError](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		again, err := simnet.ParseLink(l.String())
		if err != nil || again != l {
			t.Fatalf("%q: %+v became %q, then %+v, %v", text, l, l.String(), again, err)
		}
	})
}

// FuzzModel offers packets with any knobs and checks what always holds.
func FuzzModel(f *testing.F) {
	f.Add("rate=20mbit,queue=100kb,delay=40ms,loss=2%,burst=8", "", uint64(1), []byte("some packets of several sizes"))
	f.Add("jitter=5ms,dup=50%,mtu=100", "down", uint64(2), []byte{0, 255, 3, 7, 0, 0, 0, 0, 0, 90})
	f.Add("reorder=50%,rate=1", "rate=9223372036854775807,queue=1", uint64(3), []byte{1, 1, 1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, text, later string, seed uint64, steps []byte) {
		first, err := simnet.ParseLink(text)
		if err != nil {
			return
		}
		second, err := simnet.ParseLink(later)
		if err != nil {
			return
		}
		m, twin := simnet.NewModel(first, seed, 1), simnet.NewModel(first, seed, 1)
		var now, leave, arrive time.Duration
		onWay := 0
		for i, s := range steps {
			if i == len(steps)/2 {
				m.SetLink(second)
				twin.SetLink(second)
				leave, arrive = 0, 0 // order starts anew
			}
			now += time.Duration(s) * time.Microsecond * 13
			size := int(s) * 17
			if room := m.Room(now, size); room < now {
				t.Fatalf("room at %v before %v", room, now)
			}
			fate := m.Send(now, size)
			if other := twin.Send(now, size); other != fate {
				t.Fatalf("twins differ: %+v %+v", fate, other)
			}
			switch fate.Drop {
			case "":
				onWay++
				if fate.Copy {
					onWay++
				}
				if fate.Leave < now || fate.Arrive < fate.Leave {
					t.Fatalf("at %v: %+v", now, fate)
				}
				if !fate.Late {
					if fate.Arrive < arrive {
						t.Fatalf("overtook: %v before %v", fate.Arrive, arrive)
					}
					arrive = fate.Arrive
				}
			case simnet.DropLoss:
			default:
				continue
			}
			if fate.Leave < leave {
				t.Fatalf("left at %v, before %v", fate.Leave, leave)
			}
			leave = fate.Leave
		}
		for range onWay {
			m.Arrive()
		}
		checkSum(t, m.Stats())
		if s := m.Stats(); s.Packets != int64(len(steps)) || s.QueueDelayMax > s.QueueDelay {
			t.Fatalf("%+v", s)
		}
	})
}
