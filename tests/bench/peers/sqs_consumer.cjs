// npm's sqs-consumer, so many of them in one process, as its README has them.

const { createRequire } = require("node:module");
const { join } = require("node:path");

const installed = createRequire(join(process.cwd(), ".venv-bench", "package.json"));
const { SQSClient } = installed("@aws-sdk/client-sqs");
const { Consumer } = installed("sqs-consumer");

const consumers = Number(process.argv[2]);
const sqs = new SQSClient({
  region: process.env.AWS_DEFAULT_REGION,
  endpoint: process.env.AWS_ENDPOINT_URL,
  requestHandler: { httpAgent: { keepAlive: true, maxSockets: 2 * consumers } },
});

for (let number = 0; number < consumers; number++) {
  const consumer = Consumer.create({
    queueUrl: process.env.STATUSWIRE_QUEUE_URL,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 20,
    handleMessageBatch: async (messages) => messages,
  });
  for (const trouble of ["error", "processing_error"]) {
    consumer.on(trouble, (error) => console.error(String(error)));
  }
  consumer.start();
}
