"""A small table of each of cxrscore's layouts, for the kit to read and to damage."""

from cxrscore.labels.findings import FINDINGS

FOURTEEN = ",".join(FINDINGS)
OBSERVED = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
VINDR = "Aortic enlargement,Pleural effusion,No finding"


def filled(cells, count=14):
    """Cells as given, then zeros: as many as count."""
    return ",".join([*cells, *"0" * (count - len(cells))])


TABLES = {
    "nih": "Image Index,Finding Labels,Patient ID,Patient Age\na.png,Mass|Nodule,1,61\nb.png,No Finding,2,50\n",
    "nih-google": "Image Index,Patient ID,Fracture,Pneumothorax,Airspace opacity,Nodule or mass\n"
    "a.png,1,YES,NO,NO,NO\nb.png,2,NO,NO,YES,NO\n",
    "nih-boxes": "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000001_000.png,Mass,10.0,20.0,30.0,40.0,,,\n00000002_000.png,Nodule,10.0,20.0,30.0,40.0,,,\n",
    "chexpert": f"Path,Sex,Age,Frontal/Lateral,AP/PA,{OBSERVED}\n"
    f"CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,{filled('10')}\n"
    f"CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg,Male,70,Frontal,PA,{filled('01')}\n",
    "mimic": f"subject_id,study_id,{OBSERVED}\n10000032,50414267,{filled('10')}\n10000764,57375967,{filled('01')}\n",
    "padchest": "ImageID,PatientID,Projection,Labels\na.png,1,PA,['cardiomegaly']\nb.png,2,AP,['normal']\n",
    "vindr": f"image_id,rad_id,{VINDR}\na,R1,1,0,0\nb,R1,0,0,1\n",
    "vindr-boxes": "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
    "a,Aortic enlargement,0,R1,10,20,30,40\nb,No finding,14,R1,,,,\n",
    "rsna": "patientId,x,y,width,height,Target\na,,,,,0\nb,10,20,30,40,1\n",
    "siim": "ImageId,EncodedPixels\na,-1\nb,119 1 30 2\n",
    "course": f"Image,{FOURTEEN},PatientId\n00000001_000.png,{filled('01')},1\n00000002_000.png,{filled('10')},2\n",
    "chexnet": f"Image Index,{FOURTEEN}\n00000001_000.png,{filled('01')}\n00000002_000.png,{filled('10')}\n",
    "plain": "film,patient,sex,Mass,Nodule\na.png,1,F,0,1\nsub/b.png,2,M,1,\nc.png,2,M,0,0\n",
}
