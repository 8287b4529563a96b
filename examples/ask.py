"""Ask what an inference Workspace serves, with OpenAI's own client.

python examples/ask.py http://SERVICE MODEL QUESTION

MODEL is a name that http://SERVICE/v1/models lists: an adapter's or the preset's. On vLLM the
preset's is the base without adapters. `pip install openai` comes first.
"""

import sys

import openai

url, model, question = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
said = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": question}],
    temperature=0,
    max_tokens=40,
)
sys.stdout.write(f"{said.choices[0].message.content}\n")
