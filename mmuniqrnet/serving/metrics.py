"""What the server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
COUNTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, gauges and histograms in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        shared = dict(namespace='mmuniqrnet', registry=self.registry)
        self.requests = Counter(
            'requests', 'Requests to /ground by status; 499: the client left.', ['status'], **shared
        )
        self.seconds = Histogram(
            'request_seconds', 'From the head of a request to its answer.', buckets=SECONDS, **shared
        )
        self.active = Gauge('active_requests', 'Requests that have no answer yet.', **shared)
        self.queue = Gauge('queue_requests', 'Requests that wait for the model.', **shared)
        self.uploads = Gauge('upload_bytes', 'Bytes of the bodies of requests in memory.', **shared)
        self.batch = Histogram('batch_expressions', 'Expressions of a batch.', buckets=COUNTS, **shared)
        self.batch_seconds = Histogram(
            'batch_seconds', 'Decoding pictures and running the network, for a batch.', buckets=SECONDS, **shared
        )
        self.expressions = Counter('expressions', 'Expressions that were answered.', **shared)
        self.dropped = Counter('dropped', 'Requests taken from the queue: late, or the client left.', **shared)

    def text(self) -> bytes:
        """All values in Prometheus' text format."""
        return generate_latest(self.registry)
