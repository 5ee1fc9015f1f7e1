// Command load asks one address at a steady rate, whether answers come or not, and says each second what came of it.
//
//	load -url http://127.0.0.1:8000/invocations -host fraud.example -rate 200 -for 60s
//
// It ends at the end of its time, at SIGTERM, and when its standard input ends, with a last line that waits for every answer.
// Each line is the sum of all so far: {"sent", "answered": {code: n}, "served": {version: n}, "failed": n, "reasons": {text: n}}.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const body = `{"inputs": [[0.1, 0.2]]}`

type sums struct {
	lock     sync.Mutex
	Sent     int            `json:"sent"`
	Answered map[int]int    `json:"answered"`
	Served   map[string]int `json:"served"`
	Failed   int            `json:"failed"`
	Reasons  map[string]int `json:"reasons"`
	Ended    bool           `json:"ended"`
}

func main() {
	url := flag.String("url", "", "what is asked")
	host := flag.String("host", "", "the Host header")
	rate := flag.Int("rate", 200, "requests a second")
	span := flag.Duration("for", 30*time.Second, "how long at most")
	patience := flag.Duration("patience", 10*time.Second, "how long an answer may take")
	flag.Parse()

	client := &http.Client{Timeout: *patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	total := &sums{Answered: map[int]int{}, Served: map[string]int{}, Reasons: map[string]int{}}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()

	var asking sync.WaitGroup
	began := time.Now()
	tick, told := time.NewTicker(5*time.Millisecond), time.NewTicker(time.Second)
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-told.C:
			total.tell()
		case <-tick.C:
			took := time.Since(began)
			if took >= *span {
				running = false
			}
			// What a late tick owes is asked at once: the rate holds on a busy machine too.
			for due := int(took.Seconds() * float64(*rate)); total.Sent < due; {
				total.lock.Lock()
				total.Sent++
				total.lock.Unlock()
				asking.Add(1)
				go func() {
					defer asking.Done()
					total.add(ask(client, *url, *host))
				}()
			}
		}
	}
	asking.Wait()
	total.Ended = true
	total.tell()
}

func ask(client *http.Client, url, host string) (code int, version, reason string) {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err.Error()
	}
	request.Host = host
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", err.Error()
	}
	if response.StatusCode != http.StatusOK {
		reason = fmt.Sprintf("%d %s %.80s", response.StatusCode, response.Header.Get("X-Model-Version"), text)
	}
	return response.StatusCode, response.Header.Get("X-Model-Version"), reason
}

func (s *sums) add(code int, version, reason string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if code != 0 {
		s.Answered[code]++
	}
	if version != "" {
		s.Served[version]++
	}
	if reason != "" {
		s.Failed++
		s.Reasons[reason]++
	}
}

func (s *sums) tell() {
	s.lock.Lock()
	defer s.lock.Unlock()
	text, _ := json.Marshal(s)
	fmt.Println(string(text))
}
