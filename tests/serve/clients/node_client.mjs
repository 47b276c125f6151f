// OpenAI's own client for Node as its users write it: an answer, a stream, a tool, a structured answer, vectors.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const ai = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20000 });
const user = (content) => [{ role: "user", content }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const schema = {
  type: "object", additionalProperties: false, required: ["name", "country"],
  properties: { name: { type: "string" }, country: { type: "string" } },
};
const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };

const chat = await ai.chat.completions.create({ model: "hub", messages: user("hello") });
const runner = ai.chat.completions.stream({ model: "hub", messages: user("hello"), stream_options: { include_usage: true } });
let stream = "";
runner.on("content", (piece) => { stream += piece; });
const whole = await runner.finalChatCompletion();
const called = (await ai.chat.completions.create({ model: "hub", messages: user("what is the weather"), tools })).choices[0];
const city = await ai.chat.completions.parse({ model: "hub", messages: user("a capital as JSON"), response_format });
const vectors = await ai.embeddings.create({ model: "vectors", input: ["a", "bb"] });
const task = await ai.chat.completions.create({ model: "tickets", messages: user("a refund please") });
const text = await ai.completions.create({ model: "hub", prompt: "hello" });
const names = [];
for await (const one of ai.models.list()) names.push(one.id);
const wrong = await ai.chat.completions.create({ model: "nobody", messages: user("x") }).catch((error) => error.status);
console.log(JSON.stringify({
  chat: chat.choices[0].message.content,
  stream,
  usage: whole.usage.total_tokens > 0,
  tool: [called.message.tool_calls[0].function.name, JSON.parse(called.message.tool_calls[0].function.arguments)],
  structured: JSON.parse(city.choices[0].message.content),
  vectors: vectors.data.map((row) => row.embedding),
  task: task.choices[0].message.content,
  text: text.choices[0].text,
  models: names.includes("tickets"),
  wrong,
}));
