"""What the story and its executor, which runs in the replicas, agree about."""

EXECUTOR = "local.demo.executor:DemoExecutor"
DEADLY_SYMBOL = "HALTUSDT"
EXIT_CODE = 9
