// Command modelserver serves one version of a model that knows nothing: MLflow's paths (/invocations, /ping), Prometheus'
// /metrics by model and version, with the names that the project's own server has, and faults by environment.
// The project's own server is Python; an image with that can't be made from nothing in a test's time.
//
//	MODEL_NAME, MODEL_VERSION  what it says that it serves
//	ADDRESS                    where it listens, ":8080" where it is not set
//	LOAD                       how long it loads before it answers /ping ("200ms")
//	DRAIN                      how long it serves on after SIGTERM ("3s")
//	FAULT                      "crash": ends with code 3 after LOAD; "memory": takes memory until it is killed;
//	                           "errors": answers every second request with 500
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var bounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// A histogram of seconds, by status code.
type histogram struct {
	counts [len(bounds) + 1]uint64
	sum    float64
	total  uint64
}

type server struct {
	model, version string
	faulty         bool
	ready          atomic.Bool
	asked          atomic.Uint64

	lock  sync.Mutex
	taken map[int]*histogram
}

func main() {
	s := &server{
		model:   env("MODEL_NAME", "fraud"),
		version: env("MODEL_VERSION", "0"),
		faulty:  os.Getenv("FAULT") == "errors",
		taken:   map[int]*histogram{},
	}
	say("model %s version %s: loading", s.model, s.version)
	go s.load(os.Getenv("FAULT"), duration("LOAD"))

	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ending
		// Whoever routes here may learn of the end a moment late, and is served meanwhile.
		say("ending: serving on for %s", duration("DRAIN"))
		time.Sleep(duration("DRAIN"))
		os.Exit(0)
	}()

	http.HandleFunc("/invocations", s.invocations)
	http.HandleFunc("/metrics", s.metrics)
	for _, path := range []string{"/ping", "/health"} {
		http.HandleFunc(path, s.ping)
	}
	if err := http.ListenAndServe(env("ADDRESS", ":8080"), nil); err != nil {
		say("can't serve: %v", err)
		os.Exit(1)
	}
}

func (s *server) load(fault string, took time.Duration) {
	time.Sleep(took)
	switch fault {
	case "crash":
		say("ValueError: the model was saved by a version that this server does not know")
		os.Exit(3)
	case "memory":
		say("model %s version %s: taking memory", s.model, s.version)
		var kept [][]byte
		for {
			block := make([]byte, 8<<20)
			for at := 0; at < len(block); at += 4096 {
				block[at] = 1
			}
			kept = append(kept, block)
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.ready.Store(true)
	say("model %s version %s: ready", s.model, s.version)
}

func (s *server) ping(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "loading", http.StatusServiceUnavailable)
	}
}

func (s *server) invocations(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	code := http.StatusOK
	var asked struct {
		Inputs []json.RawMessage `json:"inputs"`
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	switch number := s.asked.Add(1); {
	case !s.ready.Load():
		code = http.StatusServiceUnavailable
	case err != nil || json.Unmarshal(text, &asked) != nil:
		code = http.StatusBadRequest
	case s.faulty && number%2 == 0:
		code = http.StatusInternalServerError
		say("ZeroDivisionError: request %d", number)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Model-Version", s.version)
	w.WriteHeader(code)
	scores := make([]float64, len(asked.Inputs))
	answer, _ := json.Marshal(map[string]any{"predictions": scores, "model": s.model, "version": s.version})
	w.Write(answer)
	s.count(code, time.Since(began).Seconds())
}

func (s *server) count(code int, seconds float64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found := s.taken[code]
	if found == nil {
		found = &histogram{}
		s.taken[code] = found
	}
	place := 0
	for place < len(bounds) && seconds > bounds[place] {
		place++
	}
	found.counts[place]++
	found.sum += seconds
	found.total++
}

func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	s.lock.Lock()
	defer s.lock.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintln(w, "# TYPE model_server_requests_total counter")
	for code, found := range s.taken {
		fmt.Fprintf(w, "model_server_requests_total{code=\"%d\",%s} %d\n", code, s.labels(), found.total)
	}
	fmt.Fprintln(w, "# TYPE model_server_request_duration_seconds histogram")
	all := &histogram{}
	for _, found := range s.taken {
		for place, count := range found.counts {
			all.counts[place] += count
		}
		all.sum, all.total = all.sum+found.sum, all.total+found.total
	}
	var below uint64
	for place, bound := range bounds {
		below += all.counts[place]
		fmt.Fprintf(w, "model_server_request_duration_seconds_bucket{%s,le=\"%g\"} %d\n", s.labels(), bound, below)
	}
	fmt.Fprintf(w, "model_server_request_duration_seconds_bucket{%s,le=\"+Inf\"} %d\n", s.labels(), all.total)
	fmt.Fprintf(w, "model_server_request_duration_seconds_sum{%s} %g\n", s.labels(), all.sum)
	fmt.Fprintf(w, "model_server_request_duration_seconds_count{%s} %d\n", s.labels(), all.total)
}

func (s *server) labels() string {
	return fmt.Sprintf("model=%q,version=%q", s.model, s.version)
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func duration(name string) time.Duration {
	value, err := time.ParseDuration(env(name, "0s"))
	if err != nil {
		say("%s: %v", name, err)
		os.Exit(2)
	}
	return value
}

func say(format string, values ...any) {
	fmt.Fprintf(os.Stdout, format+"\n", values...)
}
