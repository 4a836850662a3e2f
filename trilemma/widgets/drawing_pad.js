// A black canvas on which one draws in white, by mouse, pen or finger; `drawing` of the model is its PNG as a data URL.
function render({ model, el }) {
  const size = model.get("size");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  canvas.className = "trilemma-pad";
  canvas.style.cssText = `width: ${size}px; height: ${size}px; display: block; outline: 1px solid gray;`;
  canvas.style.cssText += "touch-action: none; cursor: crosshair;";
  const context = canvas.getContext("2d");
  const clear = document.createElement("button");
  clear.textContent = "clear";
  const file = document.createElement("input");
  file.type = "file";
  file.accept = "image/*";
  file.title = "load an image file";
  file.style.maxWidth = "200px";
  const message = document.createElement("div");
  message.style.maxWidth = `${size}px`;
  const controls = document.createElement("div");
  controls.style.cssText = "margin-top: 4px; display: flex; gap: 8px;";
  controls.append(clear, file);
  el.append(canvas, controls, message);

  function fill(colour) {
    context.shadowBlur = 0;
    context.fillStyle = colour;
    context.fillRect(0, 0, size, size);
  }

  let shown = null; // What the canvas holds; this view's own drawing is not drawn again over a newer stroke.
  function show() {
    const drawing = model.get("drawing");
    if (drawing === shown) return;
    shown = drawing;
    if (!drawing) return fill("black");
    const picture = new Image();
    picture.onload = () => drawing === shown && context.drawImage(picture, 0, 0, size, size);
    picture.src = drawing;
  }

  function send(drawing) {
    shown = drawing;
    model.set("drawing", drawing);
    model.save_changes();
  }

  let last = null;
  function stroke(event) {
    const box = canvas.getBoundingClientRect();
    const point = [((event.clientX - box.left) * size) / box.width, ((event.clientY - box.top) * size) / box.height];
    context.strokeStyle = context.shadowColor = "white";
    context.shadowBlur = size / 70; // The soft edge.
    context.lineWidth = size / 14;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...(last || point));
    context.lineTo(...point);
    context.stroke();
    last = point;
  }
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => last && stroke(event));
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (last) send(canvas.toDataURL("image/png"));
      last = null;
    });
  }

  clear.addEventListener("click", () => {
    message.textContent = "";
    file.value = "";
    fill("black");
    send("");
  });
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    message.textContent = "";
    try {
      const picture = await createImageBitmap(file.files[0]);
      const scale = size / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      const [left, top] = [(size - width) / 2, (size - height) / 2];
      context.imageSmoothingEnabled = scale < 1; // Enlarged pixels stay squares.
      context.imageSmoothingQuality = "high";
      fill("white"); // Paper, where a picture is transparent.
      context.drawImage(picture, left, top, width, height);
      const [red, green, blue] = context.getImageData(Math.ceil(left), Math.ceil(top), 1, 1).data;
      fill(`rgb(${red}, ${green}, ${blue})`); // The picture's own ground fills the square.
      context.drawImage(picture, left, top, width, height);
      send(canvas.toDataURL("image/png"));
    } catch (error) {
      message.textContent = `${file.files[0].name} is not an image that this browser reads; choose a PNG or JPEG.`;
    }
  });

  model.on("change:drawing", show);
  show();
  return () => model.off("change:drawing", show);
}

export default { render };
